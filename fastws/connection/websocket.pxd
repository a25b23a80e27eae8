# Types for the compiled build of websocket.py; the source itself stays plain Python.
cimport cython
from fastws.connection.connection cimport Connection
from fastws.connection.inbox cimport Inbox
from fastws.connection.outbox cimport Outbox

@cython.final
cdef class WebSocket:
    cdef object __weakref__
    cdef Connection _connection
    cdef list _drained
    cdef object _fragments
    cdef object _inbox
    cdef dict _pings
    cdef dict _state
    cdef public object latency
    cdef public Outbox outbox
    cdef object _handshake
    cdef public object subprotocol

    cpdef bint has_inbox(self)
    @cython.locals(inbox=Inbox)
    cpdef deliver(self, object message)
    @cython.locals(outbox=Outbox)
    cpdef object _push(self, object message, object compress, bint force)
