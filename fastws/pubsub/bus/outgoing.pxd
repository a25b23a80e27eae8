# Types for the compiled build of outgoing.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Lane:
    cdef public bytes key
    cdef public long long number
    cdef public bint is_told
    cdef public int silent_ticks

@cython.final
cdef class Run:
    cdef public Lane lane
    cdef public list frames
    cdef public Py_ssize_t size

@cython.final
cdef class Outgoing:
    cdef object _wake
    cdef Lane _last
    cdef Run _run
    cdef public list runs
    cdef public bint has_peers
    cdef public bint is_started
    cdef Py_ssize_t _early
    cdef public dict lost

    @cython.locals(run=Run)
    cpdef add(self, Lane lane, bytes frame)
    cdef bint _begin(self, Lane lane) except -1
    cdef _check_size(self, Py_ssize_t size)
