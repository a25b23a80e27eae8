# Types for the compiled build of fanout.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.outbox cimport Outbox, Subscriptions
from fastws.connection.publication cimport Channel, Publication
from fastws.loop.turn cimport Published, Turn
from fastws.pubsub.topic cimport Topic

cdef class Subscriber(Subscriptions):
    cdef readonly FanOut fan_out
    cdef public Outbox outbox
    cdef public object ws
    cdef public dict topics
    cdef public object cursors
    cdef public long long turn_number
    cdef public long long last_seq

    @cython.locals(fan_out=FanOut, after=cython.longlong, publication=Publication, topic=Topic, taken=list)
    cpdef take_published(self)
    cpdef fall_behind(self, Channel channel, list batch)
    cpdef writable(self)
    @cython.locals(topic=Topic)
    cpdef leave(self)

cdef class FanOut(Published):
    cdef Turn _turn
    cdef list _topics
    cdef public object puller
    cdef public object pacer
    cdef public long long seq
    cdef public long long turn_number
    cdef long long _seen
    cdef int _idle_looks
    cdef double _deadline
    cdef double _last_cost
    cdef double _stamp
    cdef int _until_stamp
    cdef public object meters

    cdef _begin_stamp(self)
    cpdef long long add(self, Topic topic)
    @cython.locals(deliveries=Py_ssize_t, topic=Topic)
    cpdef bint waits_for_more(self)
    @cython.locals(topics=list, topic=Topic, started=double, now=double)
    cpdef flush(self)
    @cython.locals(topic=Topic, messages=Py_ssize_t)
    cpdef _deliver_all(self, list topics)
    @cython.locals(topic=Topic, subscriber=Subscriber)
    cpdef _take_shared(self, list topics)
    @cython.locals(number=cython.longlong, batch=list, groups=dict, group=list, variant=int, counters=Counters, outboxes=list, outbox=Outbox, subscriber=Subscriber)
    cpdef _deliver(self, Topic topic)

cpdef FanOut fan_out_of(Turn turn)

@cython.locals(size=Py_ssize_t, direct=list, through=list, fds=list, outbox=Outbox)
cpdef write_many(list outboxes, bytes data, Py_ssize_t messages, Counters counters)
