# Types for the compiled build of hub.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut, Subscriber, fan_out_of
from fastws.pubsub.hub_shared cimport HubShared
from fastws.pubsub.numbered cimport NumberedTopic
from fastws.pubsub.topic cimport Topic

cdef object TEXT, BINARY, encode
cdef object UNSET

cdef class Hub(HubShared):
    cdef object _left

    cdef _bind(self, FanOut fan_out)
