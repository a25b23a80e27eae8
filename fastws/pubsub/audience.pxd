# Types for the compiled build of audience.py; the source itself stays plain Python.
from fastws.pubsub.registry cimport TopicRegistry

cdef class Audience(TopicRegistry):
    pass
