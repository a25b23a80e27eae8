# Types for the compiled build of outgoing.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.bus.lanes cimport Lane
from fastws.pubsub.bus.peer cimport Peer
from fastws.pubsub.bus.records cimport Record, encode_record

@cython.final
cdef class Run:
    cdef public Lane lane
    cdef public list frames
    cdef public Py_ssize_t size

@cython.final
cdef class Outgoing:
    cdef object _call_soon
    cdef object _loop
    cdef list _peers
    cdef object _wake
    cdef Lane _last
    cdef Run _run
    cdef public list runs
    cdef public bint has_peers
    cdef public bint is_started
    cdef Py_ssize_t _run_bytes
    cdef Py_ssize_t _early
    cdef public dict lost

    @cython.locals(run=Run)
    cpdef add(self, Lane lane, bytes frame)
    @cython.locals(peer=Peer, only=Peer, peers=list, runs=list, records=list, whole=bytes, lane=Lane, body=bytes)
    cpdef flush(self)
    @cython.locals(run=Run, lane=Lane, count=Py_ssize_t, body=bytes, found=list)
    cdef list _numbered(self)
    cdef list _take(self)
    cdef bint _begin(self, Lane lane) except -1
    cdef _check_size(self, Py_ssize_t size)

@cython.locals(lane=Lane, body=bytes, follows=set)
cdef _hand_over(Peer peer, list runs)

@cython.locals(lane=Lane)
cdef _write_some(Peer peer, list records)
