# Types for the compiled build of pausing.py; the source itself stays plain Python.
cimport cython
from fastws.connection.core cimport ConnectionCore

cdef Py_ssize_t POLLED_READ_BYTES

cdef class Pausing(ConnectionCore):
    # Small values side by side, those of the parts above too: an open connection is to be small.
    cdef int _polled_fd
    cdef unsigned char _pause_reasons
    cdef unsigned char _small_reads
    cdef unsigned char _pong_wait
    cdef unsigned char _tcp_end

    cdef _init_pausing(self)
    cdef pause(self, int reason)
    cpdef resume(self, int reasons)
    cdef _pause_for_turn(self)
    cdef _count_read(self, Py_ssize_t size)
    cdef _enter_poller(self)
    cdef _leave_poller(self)
    cdef _discard_input(self)
