# Types for the compiled build of responses.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.connection cimport Connection
from fastws.protocol.http.messages cimport Request
from fastws.server.site cimport Site

cdef class Responses:
    cdef Connection _connection
    cdef Site _site
    cdef object _state
    cdef object _stream
    cdef Request _request
    cdef double _started_at
    cdef Py_ssize_t _size
    cdef int _status
    cdef int _turn_responses

    cpdef _set_up(self, Connection connection, Site site)
    cpdef bint _is_busy(self)
    cpdef bint _waits_for_application(self)
    cpdef _continue(self)
    cpdef opened(self, Counters counters)
    cpdef _expect_head(self)
    cpdef _set_deadline(self, object seconds)
