# Types for the compiled build of keepalive.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Wheel:
    cdef object _call_at
    cdef public object time
    cdef dict _buckets
    cdef list _ticks
    cdef Py_ssize_t _count
    cdef long long _armed
    cdef object _handle

    @cython.locals(tick=cython.longlong, ticks=double, bucket=dict)
    cpdef set(self, object item, double when)
    cpdef sooner(self, object item, double when)
    @cython.locals(tick=cython.longlong, bucket=dict)
    cpdef cancel(self, object item)
    @cython.locals(earliest=cython.longlong)
    cpdef _arm(self)
    cpdef _rest(self)
