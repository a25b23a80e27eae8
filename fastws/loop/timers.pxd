# Types for the compiled build of timers.py; the source itself stays plain Python.
cimport cython

cdef double TICK_SECONDS

cdef class Timed:
    cdef public int tick

    cpdef on_timer(self, double now)

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
    cpdef set(self, Timed item, double when)
    cpdef sooner(self, Timed item, double when)
    @cython.locals(tick=cython.longlong, bucket=dict)
    cpdef cancel(self, Timed item)
    @cython.locals(earliest=cython.longlong)
    cpdef _arm(self)
    @cython.locals(tick=cython.longlong, current=cython.longlong, item=Timed)
    cpdef _fire(self)
    cpdef _serve(self, Timed item, double now, long long current)
    cpdef _rest(self)
