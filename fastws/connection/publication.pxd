# Types for the compiled build of publication.py; the source itself stays plain Python.
cimport cython

cdef class Channel:
    cdef public object merge
    cdef public object policy
    cdef public object deflate
    cdef public object meter
    cdef public bint sequenced

    @cython.locals(publication=Publication, frames=list)
    cpdef bytes join(self, list batch, int variant)
    @cython.locals(publication=Publication, size=Py_ssize_t, index=Py_ssize_t, start=Py_ssize_t)
    cpdef list merged(self, list batch)

@cython.final
cdef class Publication:
    cdef public Channel channel
    cdef public long long seq
    cdef object _message
    cdef public Py_ssize_t size
    cdef object _frames

    cpdef bytes frame(self, int variant)

cpdef bytes payload_of(bytes plain)
