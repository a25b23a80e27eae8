# Types for the compiled build of inline_task.py; the source itself stays plain Python.
cimport cython
from fastws.loop.wakeups cimport Waiter

cdef int NO_NEWS, YIELDED, ENDED

@cython.final
cdef class InlineTask:
    cdef object _context
    cdef object _coroutine
    cdef object _loop
    cdef int _news
    cdef object _parked
    cdef object _resume
    cdef object _task
    cdef Waiter _waiter
    cdef object _value

    @cython.locals(waiter=Waiter)
    cdef bint _waits(self, got)
    cdef _take_news(self)
    cdef _yielded(self, got)
    cdef _abandon(self)
    cdef _forget(self)
