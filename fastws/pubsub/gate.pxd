# Types for the compiled build of gate.py; the source itself stays plain Python.
cimport cython
from fastws.loop.turn cimport Turn
from fastws.pubsub.pace cimport Sampler

cdef object loop_state_of

cdef class Gate:
    cdef object _topic
    cdef object _ticker
    cdef Sampler _sampler
    cdef double _rest_seconds
    cdef object _keep
    cdef public object max_rate
    cdef public bint is_open
    cdef list _collected
    cdef public object lane
    cdef Py_ssize_t _left_out
    cdef dict _untold
    cdef bint _tells
    cdef object _loop
    cdef Turn _turn
    cdef unsigned long _thread
    cdef list _own
    cdef Py_ssize_t _own_bytes
    cdef object _own_due

    cpdef bint samples(self) except -1
    cpdef bint collects(self) except -1
    cpdef bint lets_through(self, message) except -1
    cdef _enter(self)
    cdef bint _is_kept(self, message) except -1
    cpdef keep_own(self, subscriber, bytes kept)
