# Types for the compiled build of congestion.py; the source itself stays plain Python.
cimport cython
from fastws.connection.backlog cimport Backlog
from fastws.connection.writer cimport Writer

cdef class Congestion(Writer):
    cdef object _host
    cdef Backlog _backlog
    cdef public object limits
    # Small values side by side: an open connection is to be small.
    cdef public short frame_variant
    cdef public signed char flow
    cdef public int peak_queue
    cdef public bint fragmenting

    cpdef _wait(self, object item, Py_ssize_t size)
    cpdef _become_slow(self)
    cpdef keep_fresh(self)
    cpdef bint is_full(self, Py_ssize_t size)
    cpdef drop_backlog(self)
    cpdef end_count(self)
