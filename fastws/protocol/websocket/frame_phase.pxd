# Types for the compiled build of frame_phase.py; the source itself stays plain Python.

cdef class FramePhase:
    cdef public object state
    cdef object _mask
    cdef object _reader
    cdef object _deflater
    cdef public int threshold
    cdef public int frame_variant
    cdef public int close_code
    cdef public bint closed_by_peer
    cdef public bint takeover
    cdef public bint in_place
    cdef public str close_reason

    cdef _begin(self, object state, object mask)
    cpdef _move(self, object trigger)
    cpdef _open(self, object limits, object params, object deflate)
    cpdef limit_rate(self, object limits, object time)
    cpdef bint choose_buffer(self)
    cpdef list received(self, Py_ssize_t size)
    cpdef bytes answer(self, object event)
    cpdef bytes _peer_closed(self, object event)
    cpdef bytes encode(self, object message, object compress=*)
    cpdef bytes key_only(self, object compress)
    cpdef bytes _key(self)
