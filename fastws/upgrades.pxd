# Types for the compiled build of upgrades.py; the source itself stays plain Python.
cimport cython
from fastws.connection cimport Connection
from fastws.outbox cimport Outbox

cpdef object refusal(object request, object endpoint)
@cython.locals(outbox=Outbox, corked=bint)
cpdef accept(
    Connection connection,
    object request,
    object endpoint,
    object callbacks=*,
    object subprotocol=*,
    object headers=*,
)
