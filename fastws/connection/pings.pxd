# Types for the compiled build of pings.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Pings:
    cdef dict _under_way
