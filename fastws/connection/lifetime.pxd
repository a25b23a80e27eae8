# Types for the compiled build of lifetime.py; the source itself stays plain Python.
cimport cython
from fastws.connection.pausing cimport Pausing
from fastws.connection.websocket_core cimport WebSocketCore

cdef double WRITE_CHECK_SECONDS
cdef int ON_TIME
cdef int LATE
cdef int BEHIND_WINDOW

cdef class Lifetime(Pausing):
    cdef public WebSocketCore ws
    cdef double _close_at
    cdef double _ping_at
    cdef double _pong_by
    cdef double _stall_at
    cdef long long _stall_mark

    cdef _init_lifetime(self)
    @cython.locals(now=double, due=double)
    cdef _set_open_deadlines(self)
    cdef _stop_pings(self)
    cdef _await_end(self)
    cdef _watch_progress(self)
    cdef bint _making_progress(self, double now) except *
    cdef double _stalled_seconds(self, double now) except? -1.0
    cdef bint _extend_pong(self, double now) except *
    cdef bint _keep_alive(self, double now) except *
    cdef _pong_received(self, object payload)
    @cython.locals(due=double, stall=double)
    cdef double _next_due(self, double now) except? -1.0
