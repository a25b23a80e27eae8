# Types for the compiled build of sequenced.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.history cimport History
from fastws.pubsub.numbered cimport NumberedTopic

cdef class SequencedTopic(NumberedTopic):
    cdef public History history
    cdef readonly Py_ssize_t recent

    cpdef keep(self, bytes frame)
    cpdef bint is_empty(self) except -1
    cpdef expire(self)
    @cython.locals(batch=list, index=Py_ssize_t)
    cpdef long long offset_of(self, Publication publication)
