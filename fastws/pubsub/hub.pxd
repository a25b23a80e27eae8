# Types for the compiled build of hub.py; the source itself stays plain Python.
cimport cython
from fastws.loop.turn cimport Turn
from fastws.connection.outbox cimport Outbox

@cython.final
cdef class Publication:
    cdef public Topic topic
    cdef public long long seq
    cdef public object message
    cdef public Py_ssize_t size
    cdef object _frames

    cpdef bytes frame(self, int variant)

@cython.final
cdef class Topic:
    cdef public str name
    cdef public object merge
    cdef public object policy
    cdef public object deflate
    cdef public object registry
    cdef public dict subscribers
    cdef public list batch

    cpdef remove(self, Outbox outbox)
    @cython.locals(entry=Publication, frames=list)
    cpdef bytes join(self, list batch, int variant)
    @cython.locals(entry=Publication, size=Py_ssize_t, index=Py_ssize_t, start=Py_ssize_t)
    cpdef list merged(self, list batch)

# Open as a class of Python's: to subclasses, to attributes, to weak references.
cdef class Hub:
    cdef dict __dict__
    cdef object __weakref__
    cdef object _policy
    cdef object _deflate
    cdef dict _topics
    cdef Turn _turn
    cdef object _loop

    cdef Topic _find(self, name)
    cdef _check_thread(self)
    cdef _bind(self, Turn turn)

cpdef leave_all(Outbox outbox)
