# Types for the compiled build of hub.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut, Subscriber
from fastws.pubsub.hub_views cimport HubViews
from fastws.pubsub.numbered cimport NumberedTopic
from fastws.pubsub.topic cimport Topic

cdef object UNSET

cdef class Hub(HubViews):
    cdef object _left
