# Types for the compiled build of machine.py; the source itself stays plain Python.
cimport cython
from fastws.protocol.websocket.handshake cimport accept_head, negotiate_deflate
from fastws.protocol.http.fast_upgrade cimport read_upgrade
from fastws.protocol.http.messages cimport Request

@cython.final
cdef class Machine:
    cdef public object state
    cdef object _http
    cdef object _mask
    cdef object _reader
    cdef object _limits
    cdef object _response_headers
    cdef bytes _early
    cdef object _deflater
    cdef public int threshold
    cdef public int variant
    cdef public int close_code
    cdef public bint closed_by_peer
    cdef public bint takeover
    cdef public bint in_place
    cdef public str close_reason

    cpdef list receive(self, object data, Py_ssize_t size=*)
    cpdef bint choose_buffer(self)
    cpdef list received(self, Py_ssize_t size)
    cpdef bytes encode(self, object message, object compress=*)
    cpdef _move(self, object trigger)
    cpdef list _receive_http(self, object data, Py_ssize_t size)
    cpdef receive_eof(self)
    cpdef bytes accept(self, Request request, object limits, object subprotocol=*, object deflate=*, object headers=*)
    cpdef meter(self, object limits, object time)
    cpdef _open(self, object limits, object params, object deflate)
    cpdef bytes key_only(self, object compress)
    cpdef bytes answer(self, object event)
    cpdef bytes _peer_closed(self, object event)
    cpdef bytes _key(self)
