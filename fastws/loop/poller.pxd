# Types for the compiled build of poller.py; the source itself stays plain Python.
cimport cython
from fastws.loop.timers cimport Timed
from fastws.loop.turn cimport Turn
from fastws.loop.wakeups cimport Wakeups

cdef class Polled(Timed):
    cpdef polled(self, object data, Py_ssize_t size)

@cython.final
cdef class Member:
    cdef Polled connection
    cdef object context

@cython.final
cdef class Poller:
    cdef object _loop
    cdef Turn _turn
    cdef Wakeups _wakeups
    cdef object _buffer
    cdef list _slots
    cdef dict _members
    cdef object _epoll
    cdef int _fd
    cdef int _keepers

    cpdef bint add(self, Polled connection, object sock, object context)
    @cython.locals(member=Member)
    cpdef remove(self, Polled connection, int fd)
    @cython.locals(most=Py_ssize_t, got=list, ends_turn=bint)
    cpdef poll(self)
    @cython.locals(members=list, member=Member, other=Member, start=Py_ssize_t, end=Py_ssize_t)
    cpdef _hand_over(self, list got)
    @cython.locals(member=Member, connection=Polled, index=Py_ssize_t, size=Py_ssize_t)
    cpdef _hand_over_some(self, list members, list got, Py_ssize_t start, Py_ssize_t end)
