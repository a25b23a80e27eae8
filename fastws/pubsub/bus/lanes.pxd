# Types for the compiled build of lanes.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Lane:
    cdef public bytes key
    cdef public long long number
    cdef public bint is_told
    cdef public int silent_ticks
