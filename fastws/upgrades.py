"""From a request to an open WebSocket: who may have one here, and the 101."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws.protocol import handshake
from fastws.protocol.messages import Request, Response, error_response

if TYPE_CHECKING:
    from fastws.connection import Connection
    from fastws.routes import Endpoint

__all__ = ["accept", "refusal"]


def refusal(request: Request, endpoint: Endpoint | None) -> Response | None:
    """Return why ``request`` cannot become a WebSocket at its path; None: if the application agrees."""
    if endpoint is None or (endpoint.callbacks is None and request.method in endpoint.methods):
        return error_response(404)
    if endpoint.callbacks is None:
        return error_response(405, headers=[("Allow", ", ".join(endpoint.methods))])
    return handshake.check_upgrade(request, origins=endpoint.origins, require_origin=endpoint.require_origin)


def accept(connection: Connection, request: Request, endpoint: Endpoint) -> None:
    """Answer 101, open the WebSocket and tell its handler, in one write with what that says."""
    subprotocol = (
        handshake.choose_subprotocol(request, endpoint.subprotocols) if endpoint.subprotocols else None
    )
    head = connection.machine.accept(
        request,
        endpoint.limits,
        subprotocol=subprotocol,
        deflate=connection.context.deflate_pool(endpoint.compression),
        headers=endpoint.headers,
    )
    corked, connection.outbox.corked = connection.outbox.corked, True
    connection.outbox.push(head, True)
    request.compact()
    connection.machine.meter(endpoint.limits, connection.context.wheel.time)
    if not connection.outbox.refused:
        connection.release_input()
    connection.open(endpoint.callbacks, endpoint.limits, endpoint.timeouts, request, None, subprotocol)
    connection.outbox.corked = corked
    if not corked:
        connection.outbox.flush()
