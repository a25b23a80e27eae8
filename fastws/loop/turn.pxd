# Types for the compiled build of turn.py; the source itself stays plain Python.
cimport cython

cdef class Writable:
    cdef bint is_large(self)
    cpdef flush(self)
    cdef flush_later(self)

cdef class Published:
    cpdef bint waits_for_more(self)
    cpdef flush(self)

@cython.final
cdef class Turn:
    cdef object _call_soon
    cdef bint _scheduled
    cdef int _answers_at_once
    cdef list _waiting
    cdef public object clock
    cdef public bint has_published
    cdef public Published published
    cdef public double rest_seconds

    cpdef schedule(self, Writable writable)
    cpdef publish(self)
    @cython.locals(published=Published)
    cpdef flush(self)
    cpdef bint begin(self)
    cpdef end(self)
    @cython.locals(most=Py_ssize_t)
    cpdef answer(self, Writable writable)
    @cython.locals(waiting=list, writable=Writable)
    cpdef _flush_waiting(self)
