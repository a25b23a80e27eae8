# Types for the compiled build of numbered.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.topic cimport Topic

cdef class NumberedTopic(Topic):
    cdef public str epoch
    cdef public dict behind
    cdef public list followers
    cdef object _sequencer
    cdef public bint is_idle
    cdef public bint is_shared
    cdef public bint is_live
    cdef public double look_at

    cpdef bint is_empty(self) except -1
    cpdef expire(self)
    cpdef changed(self)
    cpdef wake_followers(self)
    cpdef use(self)
    cpdef Py_ssize_t listeners(self)
    cpdef remove(self, object subscriber)
