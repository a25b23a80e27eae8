# Types for the compiled build of site.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.outbox cimport Outbox

cdef class Site:
    cdef readonly object addresses
    cdef readonly Counters counters
    cdef readonly object limits
    cdef readonly list response_headers
    cdef readonly object router
    cdef readonly dict routers
    cdef readonly object send_buffer
    cdef readonly object settings
    cdef readonly set tasks
    cdef readonly object trusted_proxies
    cdef readonly dict connections
    cdef readonly set excess
    cdef readonly dict proxied
    cdef readonly object refused_origins
    cdef readonly object meters
    cdef public object traces
    cdef object _page
    cdef object _row
    cdef readonly bint takes_everyone
    cdef public bint is_closing
    cdef public bint is_leaving
    cdef long long _date
    cdef double _next_full_warning

    cpdef object router_of(self, object connection)
    cpdef set_date(self)
    cpdef bint is_beyond_limit(self, object connection)
    cpdef bint must_drop(self, object connection, double now)
    @cython.locals(counters=Counters, outbox=Outbox)
    cpdef websocket_closed(self, object connection)
    cpdef connection_open(self, object connection)
    cpdef connection_lost(self, object connection)
    cdef Py_ssize_t _within_limit(self) except -1
    cdef _write_row(self)
    cpdef bint is_access_logged(self)
