# Types for the compiled build of inbox.py; the source itself stays plain Python.
cimport cython
from fastws.loop.wakeups cimport Waiter, Wakeups

@cython.final
cdef class Inbox:
    cdef object _failure
    cdef Py_ssize_t _high_water
    cdef object _messages
    cdef object _pause
    cdef bint _paused
    cdef object _resume
    cdef Py_ssize_t _resume_at
    cdef Waiter _waiter
    cdef Wakeups _wakeups

    cpdef put(self, message)
    cpdef pause_until_taken(self)
    @cython.locals(waiter=Waiter)
    cdef _wake(self)
    @cython.locals(waiter=Waiter)
    cdef _more(self)
    cdef _take(self)
