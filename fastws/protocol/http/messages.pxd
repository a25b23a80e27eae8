# Types for the compiled build of messages.py; the source itself stays plain Python.
cimport cython

@cython.final
cdef class Offer:
    cdef readonly str key
    cdef readonly str host
    cdef readonly str origin
    cdef readonly str extensions
    cdef readonly str subprotocols
    cdef readonly bint forwarded

cdef class Request:
    cdef object _headers
    cdef Offer _offer
    cdef object _path_params
    cdef object _peer
    cdef object _request_id
    cdef object _tls_transport
    cdef public object body
    cdef public object http_version
    cdef public object method
    cdef public object path
    cdef public object raw_head
    cdef public object scheme
    cdef public object server
    cdef public object target
    cdef public object user

    cpdef bint may_be_forwarded(self)
    cpdef vetted(self)
    cpdef compact(self)

@cython.locals(request=Request)
cpdef Request vetted_upgrade(bytes raw_head, str target, str path, Offer offer)
