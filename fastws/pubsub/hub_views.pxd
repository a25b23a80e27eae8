# Types for the compiled build of hub_views.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.fanout cimport FanOut, Subscriber, fan_out_of
from fastws.pubsub.gate cimport Gate
from fastws.pubsub.hub_keyed cimport HubKeyed
from fastws.pubsub.keyed cimport KeyedTopic
from fastws.pubsub.numbered cimport NumberedTopic
from fastws.pubsub.topic cimport Topic
from fastws.pubsub.views cimport View

cdef object TEXT, BINARY, encode

cdef class HubViews(HubKeyed):
    @cython.locals(fan_out=FanOut, found=Topic, plain=bytes, count=Py_ssize_t, view=View)
    cdef Py_ssize_t _offer(self, topic, message, key, exclude, bytes note) except -1
    @cython.locals(gate=Gate)
    cdef Py_ssize_t _gated(self, found, message, exclude, bytes note) except -1
    @cython.locals(view=View, kept=bytes)
    cdef Py_ssize_t _publish_unheard(self, Topic found, topic, message, bytes note, exclude) except -1
    cdef Subscriber _subscriber(self, outbox, ws)
    cdef Topic _listened(self, topic)
    @cython.locals(source=Topic)
    cdef _leave(self, subscriber, Topic found)
    cdef _bind(self, FanOut fan_out)
