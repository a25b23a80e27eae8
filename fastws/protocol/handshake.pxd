# Types for the compiled build of handshake.py; the source itself stays plain Python.

cpdef object choose_subprotocol(object request, object supported)
cpdef object negotiate_deflate(object request, object compression)
cdef bytes _accept_token(bytes key)
