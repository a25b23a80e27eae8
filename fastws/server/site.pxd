# Types for the compiled build of site.py; the source itself stays plain Python.

cdef class Site:
    cdef readonly object addresses
    cdef readonly object counters
    cdef readonly object limits
    cdef readonly list response_headers
    cdef readonly object router
    cdef readonly object send_buffer
    cdef readonly object settings
    cdef readonly object trusted_proxies
    cdef readonly dict connections
    cdef readonly set excess
    cdef readonly dict proxied
    cdef object _page
    cdef object _row
    cdef readonly bint takes_everyone
    cdef public bint is_closing
    cdef public bint is_leaving
    cdef long long _date
    cdef double _next_full_warning

    cpdef set_date(self)
    cpdef bint is_beyond_limit(self, object connection)
    cpdef bint must_drop(self, object connection, double now)
    cdef Py_ssize_t _count(self) except -1
    cpdef bint is_access_logged(self)
