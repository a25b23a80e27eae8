# Types for the compiled build of hub_keyed.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.fanout cimport FanOut, Subscriber
from fastws.pubsub.hub_history cimport HubHistory
from fastws.pubsub.keyed cimport KeyedTopic
from fastws.pubsub.numbered cimport NumberedTopic

cdef class HubKeyed(HubHistory):
    cdef KeyedTopic _keyed(self, topic)
    cdef _confirm(self, NumberedTopic kept, message, key, once, bytes note)
    cdef Py_ssize_t _publish_numbered(self, NumberedTopic topic, message, key, exclude, bytes note) except -1
    cdef _check_keyed(self, topic, key, exclude)
    cdef Py_ssize_t _put(self, KeyedTopic topic, key, bytes source) except -1
    @cython.locals(fan_out=FanOut)
    cdef _subscribe_keyed(self, Subscriber subscriber, KeyedTopic topic, since, Py_ssize_t recent)
