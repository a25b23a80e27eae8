# Types for the compiled build of state.py; the source itself stays plain Python.
cimport cython
from fastws.loop.admissions cimport Admissions
from fastws.loop.poller cimport Poller
from fastws.loop.timers cimport Wheel

@cython.final
cdef class ReadBuffer:
    cdef public object view

@cython.final
cdef class LoopState:
    cdef public Admissions admissions
    cdef public object call_soon
    cdef public object clock
    cdef public object create_future
    cdef public dict deflate_pools
    cdef public object turn
    cdef public object get_buffer
    cdef public object random_mask
    cdef public Poller poller
    cdef public ReadBuffer read_buffer
    cdef public bint reads_into_buffer
    cdef public bint uses_sockets
    cdef public object wakeups
    cdef public object meters
    cdef public Wheel wheel

    cpdef Poller poller_or_none(self)
