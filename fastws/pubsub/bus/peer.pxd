# Types for the compiled build of peer.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.bus.receiving cimport Receiver
from fastws.pubsub.bus.records cimport Decoder, Record

@cython.final
cdef class Peer:
    cdef object _sock
    cdef public object identity
    cdef Receiver _receiver
    cdef object _receive
    cdef object _lost
    cdef object _loop
    cdef Decoder _decoder
    cdef object _queue
    cdef Py_ssize_t _max_waiting
    cdef public Peer joined
    cdef list _handed
    cdef bint _is_behind
    cdef bint _is_taking
    cdef Py_ssize_t _read_bytes
    cdef public Py_ssize_t waiting
    cdef public bint is_open
    cdef public dict dropped
    cdef public dict incoming
    cdef public set follows
    cdef public bint is_filtered_by_us
    cdef public bint is_started
    cdef public bint has_said_hello

    @cython.locals(limit=Py_ssize_t)
    cpdef bint has_room(self, Py_ssize_t size)
    @cython.locals(taken=Py_ssize_t)
    cpdef write(self, data)
    @cython.locals(record=Record)
    cdef _wait(self, data)
    cdef _take(self, records)
    cdef _take_all(self, said)
    cdef bint _is_free(self)
    @cython.locals(other=Peer, record=Record)
    cpdef write_records(self, list records)
    cpdef join(self, Peer other)
