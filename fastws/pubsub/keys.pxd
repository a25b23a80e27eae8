# Types for the compiled build of keys.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Entry:
    cdef public str key
    cdef public bytes name
    cdef public bytes pair
    cdef public long long number
    cdef public double time

@cython.final
cdef class Keys:
    cdef public Py_ssize_t max_keys
    cdef public double key_ttl
    cdef public double ttl
    cdef public long long last
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public long long cleared
    cdef public long long floor
    cdef public str floor_reason
    cdef dict _entries
    cdef list _slots
    cdef object _numbers
    cdef Py_ssize_t _front
    cdef object _tombstones

    cpdef Entry find(self, str key)
    @cython.locals(entry=Entry)
    cpdef put(self, str key, bytes name, bytes source, double now)
    @cython.locals(entry=Entry)
    cpdef bint remove(self, str key, double now) except -1
    @cython.locals(entry=Entry)
    cpdef bint clear(self) except -1
    @cython.locals(entry=Entry)
    cpdef clear_at(self, long long number)
    @cython.locals(entry=Entry)
    cpdef take(self, str key, bytes name, source, long long number, double time)
    @cython.locals(entry=Entry, oldest=Entry, number=cython.longlong, removed=bint)
    cpdef bint expire(self, double now) except -1
    @cython.locals(oldest=Entry)
    cpdef next_expiry(self)
    cpdef _move(self, Entry entry, double now)
    cpdef _bury(self, Entry entry, double now)
    @cython.locals(entry=Entry, number=cython.longlong)
    cpdef _forget_tombstone(self, str reason)
    @cython.locals(entry=Entry, slots=list)
    cdef Entry _oldest(self)
    @cython.locals(entry=Entry, number=cython.longlong)
    cpdef _compact(self)
    @cython.locals(entry=Entry, index=Py_ssize_t)
    cpdef Entry after(self, long long number, long long to)
    @cython.locals(entry=Entry, index=Py_ssize_t, slots=list, size=Py_ssize_t, taken=cython.longlong, at=cython.longlong, piece=bytes)
    cpdef long long read(self, long long number, long long to, Py_ssize_t max_bytes, list values, list removed)
    @cython.locals(entry=Entry, index=Py_ssize_t, slots=list, size=Py_ssize_t)
    cpdef Py_ssize_t size_after(self, long long number) except -1
    cpdef bint is_empty(self) except -1
    @cython.locals(entry=Entry, number=cython.longlong)
    cpdef list items(self)
