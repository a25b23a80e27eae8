# Types for the compiled build of hub.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication
from fastws.pubsub.bus.link cimport Link
from fastws.pubsub.fanout cimport FanOut, Subscriber, fan_out_of
from fastws.pubsub.topic cimport Topic

# Open as a class of Python's: to subclasses, to attributes, to weak references.
cdef class Hub:
    cdef dict __dict__
    cdef object __weakref__
    cdef object _policy
    cdef object _deflate
    cdef dict _topics
    cdef FanOut _fan_out
    cdef object _loop
    cdef Link _link
    cdef object _left
    cdef public str name

    cdef Topic _find(self, name)
    cdef _check_thread(self)
    cdef _bind(self, FanOut fan_out)

cdef bytes _checked(Topic found, topic, message)
