# Types for the compiled build of wakeups.py; the source itself stays plain Python.
cimport cython

cdef int PENDING, DONE, CANCELLED

@cython.final
cdef class Wakeups:
    cdef list _due
    cdef readonly object done
    cdef readonly object loop

    cpdef begin(self)
    @cython.locals(due=list)
    cpdef end(self)
    cpdef call_back(self, callback, argument, context)

@cython.final
@cython.freelist(64)
cdef class Waiter:
    cdef public bint _asyncio_future_blocking
    cdef object _argument
    cdef object _callback
    cdef object _context
    cdef object _message
    cdef int _state
    cdef Wakeups _wakeups

    cpdef wake(self)
    cpdef bint done(self)
    cpdef get_loop(self)
    cpdef on_wake(self, callback, context)
    cpdef abandon(self)
    cdef _call_back(self, argument)
