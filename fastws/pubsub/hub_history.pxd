# Types for the compiled build of hub_history.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.audience cimport Audience
from fastws.pubsub.fanout cimport FanOut, Subscriber
from fastws.pubsub.numbered cimport NumberedTopic
from fastws.pubsub.sequenced cimport SequencedTopic
from fastws.pubsub.topic cimport Topic

cdef class HubHistory(Audience):
    cdef NumberedTopic _with_positions(self, topic)
    cdef SequencedTopic _kept(self, topic)
    cdef _enter(self)
    @cython.locals(fan_out=FanOut)
    cdef Py_ssize_t _publish_kept(self, SequencedTopic topic, message, exclude=*, bytes note=*) except -1
    @cython.locals(fan_out=FanOut)
    cdef _subscribe_kept(self, Subscriber subscriber, SequencedTopic topic, since, Py_ssize_t recent)
    cdef _going_on(self, Subscriber subscriber, NumberedTopic topic, at)
    @cython.locals(fan_out=FanOut)
    cdef _wait_for_copy(self, Subscriber subscriber, NumberedTopic topic, wish)
    cdef bytes _frame(self, SequencedTopic topic, message, bytes note)
    cdef bytes _checked(self, Topic found, topic, message)
    cdef _check_thread(self)
