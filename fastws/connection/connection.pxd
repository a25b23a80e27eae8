# Types for the compiled build of connection.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.connection.delivery cimport Delivery
from fastws.connection.outbox cimport Outbox
from fastws.connection.websocket cimport WebSocket
from fastws.protocol.websocket.machine cimport Machine

cdef Py_ssize_t LARGE_READ_BYTES, FULL_READ_BYTES

@cython.final
cdef class Connection(Delivery):
    @cython.locals(machine=Machine)
    cpdef buffer_updated(self, Py_ssize_t nbytes)
    cpdef _choose_buffer(self)
    @cython.locals(outbox=Outbox, ws=WebSocket, began=bint)
    cpdef open(self, object callbacks, object limits, object timeouts, object request, object response, object subprotocol, Counters counters)
