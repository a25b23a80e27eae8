# Types for the compiled build of hub_shared.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut
from fastws.pubsub.hub_views cimport HubViews
from fastws.pubsub.notes cimport frame_of

cdef class HubShared(HubViews):
    @cython.locals(fan_out=FanOut, kept=bytes)
    cpdef _receive_numbered(self, topic, list messages, times)
