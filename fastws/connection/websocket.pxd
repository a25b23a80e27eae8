# Types for the compiled build of websocket.py; the source itself stays plain Python.
cimport cython
from fastws.connection.outbox cimport Outbox
from fastws.connection.websocket_core cimport WebSocketCore

@cython.final
cdef class WebSocket(WebSocketCore):
    pass
