# Types for the compiled build of receiving.py; the source itself stays plain Python.
cimport cython
from fastws.pubsub.bus.records cimport Record

@cython.final
cdef class Incoming:
    cdef public str hub_name
    cdef public str topic
    cdef public object expected

@cython.final
cdef class Receiver:
    cdef object _hubs
    cdef public object missed
    cdef dict _missed_by

    @cython.locals(incoming=Incoming)
    cpdef take_run(self, dict incomings, Record record, identity)
    @cython.locals(incoming=Incoming, flags=int)
    cpdef Incoming take_number(self, dict incomings, Record record, identity)
    cdef _miss(self, Incoming incoming, missed, identity)
