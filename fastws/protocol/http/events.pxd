# Types for the compiled build of events.py; the source itself stays plain Python.

cdef class Data:
    cdef public bytes data

cdef class EndOfBody:
    pass

cdef class Refusal:
    cdef public object response
    cdef public bint is_tls
