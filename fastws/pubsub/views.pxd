# Types for the compiled build of views.py; the source itself stays plain Python.
cimport cython
from fastws.connection.publication cimport Publication, payload_of
from fastws.pubsub.fanout cimport FanOut
from fastws.pubsub.history cimport History
from fastws.pubsub.notes cimport author_of, frame_of
from fastws.pubsub.sequenced cimport SequencedTopic
from fastws.pubsub.topic cimport Topic

cdef object TEXT, TEXT_FRAME, dumps, encode

cdef class View(SequencedTopic):
    cdef public object source
    cdef public dict joining
    cdef public dict wishes
    cdef public bint has_history
    cdef bytes _head
    cdef bytes _at
    cdef tuple _asked
    cdef list _replay

    cpdef begin_epoch(self)
    @cython.locals(history=History)
    cpdef offer(self, bytes kept, FanOut fan_out)
    cdef _keep(self, bytes frame, FanOut fan_out)
    cdef _add(self, bytes frame, FanOut fan_out)
    @cython.locals(frame=bytes, payload=bytes, parts=list)
    cdef bytes _wrapped(self, bytes kept, long long offset)
    @cython.locals(each=Publication)
    cpdef long long offset_of(self, Publication publication)
    cdef bytes _gap(self, missed, reason)
