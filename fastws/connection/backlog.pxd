# Types for the compiled build of backlog.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Channel, Publication

@cython.final
cdef class Backlog:
    cdef object _queue
    cdef public Py_ssize_t size
    cdef readonly double since

    cpdef append(self, object item, Py_ssize_t size)
    cpdef bint is_full(self, object limits, Py_ssize_t size)
    cpdef bint is_large(self, object limits)
    cpdef Py_ssize_t drop_oldest(self, object limits, Py_ssize_t size) except -1
    @cython.locals(size=Py_ssize_t, data=bytes)
    cpdef bytes next_chunk(self, int variant, object encode)
    @cython.locals(channel=Channel, publication=Publication)
    cpdef bytes _take_run(self, Publication first, int variant, object encode)
