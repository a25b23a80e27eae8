# Types for the compiled build of handshake.py; the source itself stays plain Python.
cimport cython
from fastws.protocol.http.messages cimport Offer, Request

@cython.locals(offer=Offer)
cpdef object check_upgrade(Request request, object origins=*, object require_origin=*)
cpdef object choose_subprotocol(Request request, object supported)
cpdef object negotiate_deflate(Request request, object compression)
cpdef bytes accept_head(Request request, object subprotocol=*, object extensions=*, object headers=*)
cdef bytes _accept_token(bytes key)
