# Types for the compiled build of http_phase.py; the source itself stays plain Python.
cimport cython
from fastws.connection.connection cimport Connection
from fastws.protocol.http.messages cimport Request
from fastws.server.upgrade cimport accept, refusal

@cython.final
cdef class ServerPhase:
    cdef Connection _connection
    cdef object _server
    cdef object _awaited
    cdef object _body
    cdef object _endpoint
    cdef Request _request
    cdef object _stream
    cdef object _task
    cdef double _started
    cdef Py_ssize_t _body_mark
    cdef Py_ssize_t _written
    cdef int _status
    cdef int _turn_responses
    cdef bint _idle

    cpdef received(self, object data)
    @cython.locals(connection=Connection, began=bint)
    cpdef _take(self, list events)
    cpdef bint _busy(self)
    cpdef _event(self, object event)
    @cython.locals(connection=Connection)
    cpdef _begin(self, Request request)
    cpdef bint _within_limits(self, Request request)
    cpdef _upgrade(self, Request request, object endpoint)
    cpdef _decide(self, object verdict)
    cpdef opened(self)
    cpdef _expect_head(self)
    cpdef _deadline(self, object seconds)
