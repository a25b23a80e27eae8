# cython: annotation_typing=False
"""From a request to an open WebSocket: which requests may become one, and the 101 (RFC 6455, section 4.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket.handshake import check_upgrade, choose_subprotocol

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.server.log_rate_limit import LogRateLimit
    from fastws.web.routes import Endpoint

__all__ = ["accept", "upgrade_refusal"]


def upgrade_refusal(
    request: Request, endpoint: Endpoint | None, refused_origins: LogRateLimit
) -> Response | None:
    """Return why a handshake cannot open a WebSocket at its path, None when ``authorize`` may decide.

    ``refused_origins`` writes the line of an origin that is refused.
    """
    takes = endpoint is not None and (endpoint.callbacks is not None or endpoint.application is not None)
    if endpoint is None or (not takes and request.method in endpoint.methods):
        return error_response(404)
    if not takes:
        # RFC 9110, section 15.5.6: with 405 Allow has to name the methods.
        return error_response(405, headers=[("Allow", ", ".join(endpoint.methods))])
    refused = check_upgrade(request, endpoint.origins, endpoint.require_origin)
    if refused is not None and refused.status == 403:
        path, origin = logs.escape(request.path), logs.escape(request.offer.origin or "none")
        text = "%s refuses the origin %s: --origin, or origins= in Python, lets others in"
        refused_origins.log(logging.INFO, text, path, origin)
    return refused


def accept(
    connection: Connection,
    request: Request,
    endpoint: Endpoint,
    callbacks: Any = None,
    subprotocol: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer 101, open the WebSocket and call its handler; the 101 and what the handler sends are one write.

    ``callbacks``, ``subprotocol`` and ``headers`` are for an application that decides itself: its callbacks
    in place of the endpoint's, the subprotocol it chose, and fields of the 101, already checked, before the
    endpoint's.
    """
    if callbacks is None:
        callbacks = endpoint.callbacks
        if endpoint.subprotocols:
            subprotocol = choose_subprotocol(request, endpoint.subprotocols)
    limits = endpoint.limits
    head = connection.machine.accept(
        request,
        limits,
        subprotocol,
        connection.loop_state.deflate_pool(endpoint.compression) if request.offer.extensions else None,
        [*headers, *endpoint.headers] if headers else endpoint.headers,
    )
    outbox = connection.outbox
    began = outbox.begin_batch()
    outbox.write_http(head)
    request.compact()
    connection.machine.limit_rate(limits, connection.loop_state.wheel.time)
    if not outbox.blocked:
        connection.release_input()
    connection.open(callbacks, limits, endpoint.timeouts, request, None, subprotocol, endpoint.counters)
    if began:
        outbox.end_batch()
