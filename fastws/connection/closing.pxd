# Types for the compiled build of closing.py; the source itself stays plain Python.
cimport cython
from fastws.connection.lifetime cimport Lifetime
from fastws.connection.outbox cimport Outbox

cdef int GRACEFUL, LINGERING, EVICTED_LINGERING, EVICTED

cdef class Closing(Lifetime):
    cdef _init_closing(self)
    @cython.locals(failed=bint)
    cdef _peer_ended(self, object event)
    @cython.locals(outbox=Outbox)
    cdef _leave(self)
    cdef _finish(self)
    cdef _end_soon(self)
    @cython.locals(outbox=Outbox)
    cpdef _end_if_drained(self)
    cdef bint _is_lingering(self)
    @cython.locals(lingers=bint, plain=bint)
    cdef bint _end_tcp(self) except *
