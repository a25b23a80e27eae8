# Types for the compiled build of link.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.bus.lanes cimport Lane
from fastws.pubsub.bus.outgoing cimport Outgoing

@cython.final
cdef class Link:
    cdef Outgoing _outgoing
    cdef dict _lanes
    cdef public object bus
    cdef public str name

    @cython.locals(lane=Lane)
    cpdef forward(self, topic, bytes frame)
    cdef Lane _lane_of(self, topic)
