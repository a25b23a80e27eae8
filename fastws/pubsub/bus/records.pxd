# Types for the compiled build of records.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Record:
    cdef public int kind
    cdef public int flags
    cdef public bytes key
    cdef public Py_ssize_t amount
    cdef public object number
    cdef public bytes body

    cpdef bytes encoded(self)

@cython.final
cdef class Decoder:
    cdef bytearray _buffer
    cdef Py_ssize_t _needed
    cdef bint _said_hello

    @cython.locals(found=list, at=Py_ssize_t)
    cpdef list feed(self, bytes data)
    @cython.locals(at=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, stop=Py_ssize_t, body_at=Py_ssize_t, kind=int, flags=int, key_size=Py_ssize_t, record=Record)
    cdef Py_ssize_t _records(self, bytes data, list found) except -1
    cdef _check_hello(self, size, kind, flags, key_size)

cpdef bytes encode_record(int kind, int flags, bytes key, count, number, bytes body=*)

@cython.locals(kind=int, flags=int)
cdef _check(Record record)

@cython.locals(frames=list, at=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, begin=Py_ssize_t)
cpdef list split_frames(bytes body, Py_ssize_t count)
