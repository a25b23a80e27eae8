# Types for the compiled build of history.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class History:
    cdef public long long first
    cdef public long long next
    cdef public Py_ssize_t messages
    cdef public Py_ssize_t max_bytes
    cdef public Py_ssize_t size
    cdef public double ttl
    cdef public long long expired_to
    cdef long long _base
    cdef list _frames
    cdef object _times

    @cython.locals(offset=cython.longlong, index=Py_ssize_t)
    cpdef begin(self, long long offset, long long expired_to)
    cpdef append(self, bytes frame, double now)
    cpdef expire(self, double now)
    cpdef forget(self)
    cpdef double oldest(self)
    cpdef double time_of(self, long long offset)
    @cython.locals(index=Py_ssize_t, frame=bytes)
    cpdef _drop_first(self)
    @cython.locals(size=Py_ssize_t, found=list, frame=bytes)
    cpdef list frames(self, long long offset, Py_ssize_t max_bytes, Py_ssize_t max_messages)
    @cython.locals(size=Py_ssize_t, frame=bytes)
    cpdef Py_ssize_t size_from(self, long long offset) except -1
