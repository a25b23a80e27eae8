# Types for the compiled build of connection.py; the source itself stays plain Python.
cimport cython
from fastws.loop.state cimport LoopState
from fastws.pubsub.hub cimport leave_all
from fastws.loop.timers cimport Timed
from fastws.connection.outbox cimport Outbox
from fastws.protocol.websocket.machine cimport Machine
from fastws.connection.websocket cimport WebSocket

cdef Py_ssize_t LARGE_READ
cdef Py_ssize_t FLOOD
cdef Py_ssize_t SMALL_READ

@cython.final
cdef class Connection(Timed):
    cdef public LoopState loop_state
    cdef public Machine machine
    cdef public object owner
    cdef public object timeouts
    cdef public object transport
    cdef public object phase
    cdef public object callbacks
    cdef public object on_message
    cdef public WebSocket ws
    cdef public object forwarded_for
    cdef public Outbox outbox
    cdef public long long received_messages
    cdef public long long received_bytes
    cdef public double opened_at
    # Small values side by side: an open connection is to be small.
    cdef int _holds
    cdef int _polled_fd
    cdef public bint evicted
    cdef unsigned char _small_reads
    cdef unsigned char _finished
    cdef unsigned char _lingering
    cdef unsigned char _graced
    cdef list _held
    cdef object _lost
    cdef double _close_at
    cdef double _ping_at
    cdef double _pong_by
    cdef double _stall_at
    cdef tuple _ping
    cdef long long _stall_mark

    @cython.locals(machine=Machine)
    cpdef buffer_updated(self, Py_ssize_t nbytes)
    cpdef _received(self, object data, Py_ssize_t size)
    cpdef _take(self, list events, Py_ssize_t size)
    cpdef _count_read(self, Py_ssize_t size)
    cpdef _enter_poller(self)
    cpdef _leave_poller(self)
    cpdef polled(self, object data, Py_ssize_t size)
    cpdef _choose_buffer(self)
    @cython.locals(outbox=Outbox, machine=Machine, ws=WebSocket, began=bint, index=Py_ssize_t, most=Py_ssize_t)
    cpdef deliver(self, list events)
    cpdef _hold(self, int reason)
    cpdef _release(self, int reason)
    cpdef _control(self, object event)
    cpdef bint is_tls(self)
    cpdef _leave(self)
    cpdef _finish(self)
    cpdef _await_end(self)
    cpdef _drain_soon(self)
    @cython.locals(due=double, stall=double)
    cpdef double _next_due(self, double now) except? -1.0
    cpdef _end_if_drained(self)
    @cython.locals(outbox=Outbox, ws=WebSocket, began=bint, now=double)
    cpdef open(self, object callbacks, object limits, object timeouts, object request, object response, object subprotocol)
