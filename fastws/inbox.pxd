# Types for the compiled build of inbox.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Inbox:
    cdef object _create_future
    cdef object _failure
    cdef Py_ssize_t _high
    cdef object _messages
    cdef object _pause
    cdef bint _paused
    cdef object _resume
    cdef object _waiter

    cpdef put(self, message)
    cdef _more(self)
    cdef _take(self)
