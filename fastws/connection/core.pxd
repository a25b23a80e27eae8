# Types for the compiled build of core.py; the source itself stays plain Python.
cimport cython
from fastws.connection.outbox cimport Outbox
from fastws.loop.poller cimport Polled
from fastws.loop.state cimport LoopState
from fastws.protocol.websocket.machine cimport Machine

cdef int PING

cdef class ConnectionCore(Polled):
    cdef public LoopState loop_state
    cdef public Machine machine
    cdef public object host
    cdef public object timeouts
    cdef public object transport
    cdef public Outbox outbox
    cdef public object phase
    cdef public object forwarded_for
    cdef public long long received_messages
    cdef public long long received_bytes
    cdef public double opened_at
    cdef object _lost
    # Fields of the parts above: a class with objects of its own is one more step when the connection is freed.
    cdef list _held_events
    cdef tuple _ping
    cdef public object callbacks
    cdef public object on_message

    cdef _init_core(self, LoopState loop_state, Machine machine, object host, object timeouts)
    cpdef bint is_tls(self)
    cdef deliver(self, list events)
