# Types for the compiled build of poller.py; the source itself stays plain Python.
cimport cython
from fastws.connection cimport Connection
from fastws.flusher cimport Flusher

@cython.final
cdef class Poller:
    cdef object _loop
    cdef Flusher _flusher
    cdef object _buffer
    cdef list _slots
    cdef dict _connections
    cdef object _epoll
    cdef int _fd

    cpdef bint add(self, object connection, int fd)
    cpdef remove(self, object connection, int fd)
    @cython.locals(most=Py_ssize_t, got=list)
    cpdef poll(self)
    @cython.locals(connections=list, connection=Connection, index=Py_ssize_t, size=Py_ssize_t, ends_turn=bint)
    cpdef _hand_over(self, list got)
