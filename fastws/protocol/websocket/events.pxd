# Types for the compiled build of events.py; the source itself stays plain Python.

cdef class _Payload:
    cdef public object payload

cdef class Ping(_Payload):
    pass

cdef class Pong(_Payload):
    pass

cdef class _Ending:
    cdef public int code
    cdef public str reason

cdef class Close(_Ending):
    pass

cdef class Fail(_Ending):
    pass

cdef class Fragment:
    cdef public object data
    cdef public bint final

cdef class More:
    pass
