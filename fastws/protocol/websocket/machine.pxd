# Types for the compiled build of machine.py; the source itself stays plain Python.
cimport cython
from fastws.protocol.http.fast_upgrade cimport read_upgrade
from fastws.protocol.http.messages cimport Request
from fastws.protocol.websocket.frame_phase cimport FramePhase
from fastws.protocol.websocket.handshake cimport accept_head, negotiate_deflate

@cython.final
cdef class Machine(FramePhase):
    cdef object _http
    cdef object _limits
    cdef object _response_headers
    cdef bytes _early

    cpdef list receive(self, object data, Py_ssize_t size=*)
    cpdef list _receive_http(self, object data, Py_ssize_t size)
    cpdef receive_eof(self)
    cpdef bytes accept(self, Request request, object limits, object subprotocol=*, object deflate=*, object headers=*)
    cpdef _end_http(self)
