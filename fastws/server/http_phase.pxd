# Types for the compiled build of http_phase.py; the source itself stays plain Python.
cimport cython
from fastws.connection.connection cimport Connection
from fastws.loop.admissions cimport Admissions
from fastws.protocol.http.messages cimport Request
from fastws.server.requests cimport admit
from fastws.server.responses cimport Responses
from fastws.server.upgrade cimport accept, upgrade_refusal

@cython.final
cdef class ServerPhase(Responses):
    cdef object _body
    cdef object _endpoint
    cdef object _pending

    @cython.locals(connection=Connection)
    cpdef received(self, object data)
    @cython.locals(connection=Connection, began=bint)
    cpdef _take(self, list events)
    cpdef _event(self, object event)
    @cython.locals(connection=Connection)
    cpdef _begin(self, Request request)
    @cython.locals(admissions=Admissions)
    cpdef _upgrade(self, Request request, object endpoint)
    cpdef _admitted(self)
    cpdef _decide(self, object verdict)
