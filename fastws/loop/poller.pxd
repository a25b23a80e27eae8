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
    cdef unsigned int events
    cdef bint rests
    cdef int reads_of_worth

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
    cdef object _resting_epoll
    cdef int _resting_fd
    cdef Py_ssize_t _resting
    cdef double _rest_seconds
    cdef Py_ssize_t _looks_in_vain

    cpdef bint add(self, Polled connection, object sock, object context)
    @cython.locals(member=Member)
    cpdef remove(self, Polled connection, int fd)
    cpdef poll(self)
    @cython.locals(most=Py_ssize_t, reads=Py_ssize_t, got=list, ends_turn=bint)
    cdef Py_ssize_t _read(self, int epoll_fd) except -1
    @cython.locals(members=list, member=Member, other=Member, start=Py_ssize_t, end=Py_ssize_t)
    cpdef _hand_over(self, list got)
    @cython.locals(member=Member, connection=Polled, turn=Turn, index=Py_ssize_t, size=Py_ssize_t)
    cpdef _hand_over_some(self, list members, list got, Py_ssize_t start, Py_ssize_t end)
    cpdef _judge(self, Member member, int fd, double rest_seconds)
    cdef _rest(self, Member member, int fd)
    cdef _wake(self, Member member, int fd)
    cdef _register(self, Member member, int fd, object target)
    cdef _rested(self, Member member)
    @cython.locals(member=Member, reads=Py_ssize_t)
    cpdef _look(self, object epoll)
