# Types for the compiled build of topic.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Channel

@cython.final
cdef class Topic(Channel):
    cdef public str name
    cdef public object registry
    cdef public dict subscribers
    cdef public list batch

    cpdef remove(self, object subscriber)
