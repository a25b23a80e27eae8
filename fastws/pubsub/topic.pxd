# Types for the compiled build of topic.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.publication cimport Channel

cdef class Topic(Channel):
    cdef public str name
    cdef public object registry
    cdef public dict subscribers
    cdef public list batch
    cdef public object view

    cdef public object gate
    cdef public object presence
    cdef public Counters tally

    cpdef Py_ssize_t listeners(self)
    cpdef Py_ssize_t paced(self)
    cpdef bint is_heard(self) except -1
    cpdef remove(self, object subscriber)
