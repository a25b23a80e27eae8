# Types for the compiled build of messages.py; the source itself stays plain Python.

cdef class Request:
    cdef object _headers
    cdef object _offer
    cdef object _path_params
    cdef object _peer
    cdef public object body
    cdef public object http_version
    cdef public object method
    cdef public object path
    cdef public object raw_head
    cdef public object scheme
    cdef public object target
