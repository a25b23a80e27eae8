# Types for the compiled build of gate.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Gate:
    cdef object _topic
    cdef object _ticker
    cdef object _sampler
    cdef double _rest_seconds
    cdef object _keep
    cdef list _collected
    cdef Py_ssize_t _left_out
    cdef bint _tells
    cdef dict _untold
    cdef public object max_rate
    cdef public bint is_open
    cdef public object lane

    cpdef bint lets_through(self, object message)
    cdef bint _is_kept(self, object message)
