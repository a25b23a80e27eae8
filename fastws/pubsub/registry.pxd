# Types for the compiled build of registry.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.bus.link cimport Link
from fastws.pubsub.fanout cimport FanOut
from fastws.pubsub.numbered cimport NumberedTopic
from fastws.pubsub.topic cimport Topic

# Open as a class of Python's: to subclasses, to attributes, to weak references.
cdef class TopicRegistry:
    cdef dict __dict__
    cdef object __weakref__
    cdef object _policy
    cdef object _deflate
    cdef dict _topics
    cdef object _classes
    cdef object _sequencer
    cdef object _tickers
    cdef FanOut _fan_out
    cdef object _loop
    cdef unsigned long _thread
    cdef object _entered
    cdef Link _link
    cdef public str name

    cdef Topic _find(self, name)
    cdef Topic _make(self, name)
    cdef NumberedTopic _numbered(self, name)
