# Types for the compiled build of pace.py; the source itself stays plain Python.
cimport cython

cdef class Sampler:
    cdef double _interval
    cdef double _burst
    cdef double _ahead

    @cython.locals(ahead=double)
    cpdef bint lets_through(self, double now) except -1
