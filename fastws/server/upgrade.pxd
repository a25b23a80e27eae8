# Types for the compiled build of upgrade.py; the source itself stays plain Python.
cimport cython
from fastws.connection.connection cimport Connection
from fastws.connection.outbox cimport Outbox
from fastws.protocol.websocket.handshake cimport check_upgrade, choose_subprotocol
from fastws.protocol.http.messages cimport Request

cpdef object upgrade_refusal(Request request, object endpoint, object refused_origins)
@cython.locals(outbox=Outbox, began=bint)
cpdef accept(
    Connection connection,
    Request request,
    object endpoint,
    object callbacks=*,
    object subprotocol=*,
    object headers=*,
)
