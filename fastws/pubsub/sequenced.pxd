# Types for the compiled build of sequenced.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.history cimport History
from fastws.pubsub.topic cimport Topic

cdef class SequencedTopic(Topic):
    cdef public History history
    cdef public str epoch
    cdef public dict behind
    cdef public list followers
    cdef object _sequencer
    cdef public bint is_idle
    cdef public bint is_watched
    cdef public bint is_shared
    cdef public bint is_live

    cpdef keep(self, bytes frame)
    cpdef expire(self)
    cpdef use(self)
    @cython.locals(batch=list, index=Py_ssize_t)
    cpdef long long offset_of(self, Publication publication)
    cpdef Py_ssize_t listeners(self)
    cpdef remove(self, object subscriber)
