# Types for the compiled build of websocket_core.py; the source itself stays plain Python.
cimport cython
from fastws.connection.core cimport ConnectionCore
from fastws.connection.inbox cimport Inbox
from fastws.connection.outbox cimport Outbox
from fastws.connection.pings cimport Pings

cdef class WebSocketCore:
    cdef object __weakref__
    cdef ConnectionCore _connection
    cdef list _drained
    cdef object _fragment_lock
    cdef object _inbox
    cdef Pings _pings
    cdef object _state
    cdef public object latency
    cdef public Outbox outbox
    cdef object _handshake
    cdef public object subprotocol

    cpdef drained(self)
    cpdef ended(self)
    cpdef bint has_inbox(self)
    cpdef pause_until_taken(self)
    @cython.locals(inbox=Inbox)
    cpdef deliver(self, object message)
    @cython.locals(outbox=Outbox)
    cdef object _push_or_encode(self, object message, object compress)
