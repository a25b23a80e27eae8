# Types for the compiled build of hub.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut, Subscriber
from fastws.pubsub.hub_shared cimport HubShared
from fastws.pubsub.notes cimport frame_of
from fastws.pubsub.topic cimport Topic

cdef object TEXT
cdef object UNSET

cdef class Hub(HubShared):
    cdef object _left

    @cython.locals(fan_out=FanOut, found=Topic, messages=list, texts=list, kept=bytes)
    cpdef _receive_run(self, str topic, bytes body, Py_ssize_t count)
