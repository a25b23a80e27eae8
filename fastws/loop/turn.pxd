# Types for the compiled build of turn.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.hub cimport Topic
from fastws.connection.outbox cimport Outbox

@cython.final
cdef class Turn:
    cdef object _call_soon
    cdef bint _scheduled
    cdef int _alone
    cdef object _clock
    cdef double _cost
    cdef double _deadline
    cdef long long _seen
    cdef int _vain
    cdef list _waiting
    cdef public list dirty
    cdef public long long seq
    cdef public long long number

    cpdef schedule(self, Outbox outbox)
    cpdef long long published(self, Topic topic)
    cpdef flush(self)
    cpdef bint begin(self)
    cpdef end(self)
    @cython.locals(most=Py_ssize_t)
    cpdef answer(self, Outbox outbox)
    @cython.locals(waiting=list, outbox=Outbox)
    cpdef _flush_waiting(self)
    @cython.locals(deliveries=Py_ssize_t, topic=Topic)
    cpdef bint _waits_for_more(self) except *
    @cython.locals(dirty=list, topic=Topic, started=double)
    cpdef _flush_topics(self)
    @cython.locals(topic=Topic)
    cpdef _fan_out_all(self, list dirty)
    @cython.locals(topic=Topic, outbox=Outbox)
    cpdef _settle_shared(self, list dirty)
    @cython.locals(number=cython.longlong, batch=list, groups=dict, group=list, variant=int, outboxes=list, outbox=Outbox)
    cpdef _fan_out(self, Topic topic)

@cython.locals(size=Py_ssize_t, direct=list, fds=list, outbox=Outbox)
cpdef write_many(list outboxes, bytes data, Py_ssize_t messages)
