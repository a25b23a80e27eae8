# Types for the compiled build of keyed.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.keys cimport Entry, Keys
from fastws.pubsub.numbered cimport NumberedTopic

cdef class KeyedTopic(NumberedTopic):
    cdef public Keys keys
    cdef public long long released
    cdef public long long told
    cdef long long _batch_start
    cdef object _ticker
    cdef object _live
    cdef bytes _head
    cdef Py_ssize_t _room
    cdef object _snapshot

    cpdef put(self, key, bytes source)
    cpdef expire(self)
    cpdef _collect(self)
    cpdef bint is_empty(self) except -1
