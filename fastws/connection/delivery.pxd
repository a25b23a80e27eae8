# Types for the compiled build of delivery.py; the source itself stays plain Python.
cimport cython
from fastws.connection.closing cimport Closing
from fastws.connection.outbox cimport Outbox
from fastws.connection.websocket_core cimport WebSocketCore
from fastws.protocol.websocket.machine cimport Machine

cdef int PONG

cdef class Delivery(Closing):
    cdef _init_delivery(self)
    @cython.locals(machine=Machine, events=list)
    cdef ingest(self, object data, Py_ssize_t size)
    @cython.locals(outbox=Outbox, machine=Machine, ws=WebSocketCore, began=bint, index=Py_ssize_t, most=Py_ssize_t)
    cdef deliver(self, list events)
    cdef _control(self, object event)
