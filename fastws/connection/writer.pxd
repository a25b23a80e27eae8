# Types for the compiled build of writer.py; the source itself stays plain Python.
cimport cython
from fastws.connection._counters cimport Counters
from fastws.loop.turn cimport Turn, Writable

cdef Py_ssize_t LARGE_ANSWER

cdef class Writer(Writable):
    cdef object _transport
    cdef object _first
    cdef list _more
    cdef public Turn turn
    cdef public Counters counters
    cdef public int fd
    # Small values side by side: an open connection is to be small.
    cdef public bint corked
    cdef public bint blocked
    cdef public bint is_open
    cdef public long long sent_bytes

    cpdef bint begin_batch(self)
    cpdef end_batch(self)
    cpdef answer(self)
    cpdef write_http(self, bytes data)
    cdef _append_frame(self, bytes frame)
    cdef _append(self, object item)
    cdef bint is_large(self)
    cpdef Py_ssize_t unwritten(self)
    @cython.locals(more=list)
    cpdef flush(self)
    cdef flush_later(self)
    @cython.locals(data=bytes)
    cdef _write(self, object items)
    @cython.locals(before=cython.longlong)
    cdef _count_bytes(self, Py_ssize_t size)
    cpdef wrote(self, Py_ssize_t taken, object rest)
    cpdef write_through(self, bytes data)
    cpdef _broken(self)
    cpdef discard(self)

cpdef Py_ssize_t _size(object item)
