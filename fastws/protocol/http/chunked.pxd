# Types for the compiled build of chunked.py; the source itself stays plain Python.
cimport cython

cdef class ChunkedBody:
    cdef object _expect
    cdef object _left
    cdef object _room
    cdef object _trailer_room

    @cython.locals(end=Py_ssize_t, size=Py_ssize_t)
    cdef Py_ssize_t _take_tiny(self, bytes data, Py_ssize_t pos, bytearray body) except *
