# Types for the compiled build of outbox.py; the source itself stays plain Python.
cimport cython
from fastws.loop.turn cimport Turn
from fastws.pubsub.hub cimport Publication, Topic

cdef Py_ssize_t LARGE_ANSWER

@cython.final
cdef class Outbox:
    cdef object _owner
    cdef object _transport
    cdef object _first
    cdef bytes _last
    cdef list _more
    cdef object _queue
    cdef dict _urgent
    cdef public Turn turn
    cdef public dict topics
    cdef public int fd
    cdef public int frame_variant
    cdef public bint corked
    cdef public bint blocked
    cdef public bint fragmenting
    cdef public bint is_open
    cdef public object limits
    cdef public Py_ssize_t queue_bytes
    cdef public long long turn_number
    cdef public long long last_seq
    cdef public long long sent_messages
    cdef public long long sent_bytes
    cdef public long long dropped

    cpdef bint begin_batch(self)
    cpdef end_batch(self)
    cpdef answer(self)
    cpdef write_http(self, bytes data)
    cpdef push(self, bytes frame)
    cpdef push_over_limits(self, bytes frame)
    cpdef bint must_wait(self)
    cpdef push_urgent(self, int opcode, bytes frame)
    cpdef push_message(self, object message)
    cpdef bint takes_messages(self)
    cpdef bint is_direct(self)
    cpdef _append_frame(self, bytes frame)
    cpdef _append(self, object item)
    cpdef bint has_output(self)
    cpdef bint is_large(self)
    cpdef bint is_idle(self)
    cpdef deliver_batch(self, Topic topic, list batch)
    @cython.locals(after=cython.longlong, entry=Publication)
    cpdef take_published(self, Turn turn)
    cpdef bint is_full(self, Py_ssize_t size)
    cpdef _deliver_blocked(self, Topic topic, Publication entry)
    cpdef _enqueue(self, object item, Py_ssize_t size)
    @cython.locals(more=list)
    cpdef flush(self)
    cpdef flush_later(self)
    @cython.locals(data=bytes, size=cython.longlong)
    cpdef _write(self, object items)
    cpdef wrote(self, Py_ssize_t taken, object rest)
    cpdef write_through(self, bytes data)
