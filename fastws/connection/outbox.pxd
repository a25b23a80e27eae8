# Types for the compiled build of outbox.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.backlog cimport Backlog
from fastws.connection.congestion cimport Congestion
from fastws.connection.publication cimport Channel, Publication

cdef class Subscriptions:
    cdef public dict policies

    cpdef policy_of(self, Channel channel)
    cpdef take_published(self)
    cpdef fall_behind(self, Channel channel, list batch)
    cpdef writable(self)
    cpdef leave(self)

@cython.final
cdef class Outbox(Congestion):
    cdef bytes _last
    cdef dict _urgent
    cdef public Subscriptions subscriptions
    cdef public long long sent_messages
    cdef public long long dropped
    cdef public int resumed

    cpdef count_from_here(self, Counters counters)
    cpdef disown(self)
    cpdef push(self, bytes frame)
    cpdef push_over_limits(self, bytes frame)
    cpdef push_urgent(self, int opcode, bytes frame)
    cpdef push_message(self, object message)
    cpdef bint takes_messages(self)
    cpdef bint is_direct(self)
    cpdef bint must_wait(self)
    cpdef bint is_idle(self)
    @cython.locals(publication=Publication)
    cpdef deliver_batch(self, Channel channel, list batch, bytes joined=*)
    cpdef bint takes_joined(self)
    cpdef deliver_joined(self, Channel channel, list batch, bytes joined)
    cpdef evict(self)
    @cython.locals(subscriptions=Subscriptions)
    cpdef _deliver_blocked(self, Channel channel, Publication publication)
    @cython.locals(subscriptions=Subscriptions)
    cpdef _take_published(self)
    @cython.locals(subscriptions=Subscriptions)
    cpdef leave_topics(self)
    @cython.locals(backlog=Backlog, before=Py_ssize_t, dropped=Py_ssize_t)
    cdef _drop_oldest(self, Py_ssize_t size)
    cdef _count_sent(self, long long messages)
    cpdef count_dropped(self, long long messages)
    @cython.locals(subscriptions=Subscriptions)
    cpdef _tell_subscriptions(self)
    @cython.locals(backlog=Backlog, before=Py_ssize_t, size=Py_ssize_t, chunk=bytes)
    cpdef _drain(self)
