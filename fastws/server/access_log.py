"""The lines of the access log: one for each HTTP response, one for each WebSocket that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws import logs

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.protocol.http.messages import Request

__all__ = ["log_response", "log_websocket"]


def log_response(
    connection: Connection, request: Request | None, status: int, size: int, started_at: float
) -> None:
    """Log a response of ``size`` bytes; ``request`` is None where none could be read.

    ``started_at`` is when the request had come, on the loop's clock.
    """
    method, target, version, seconds = "-", "-", "-", 0.0
    if request is not None:
        method, target, version = request.method, request.target, request.http_version
        seconds = connection.loop_state.clock() - started_at
    line = logs.http_line(connection.peer, method, target, version, status, size, seconds)
    logs.access.info("%s", line)


def log_websocket(connection: Connection) -> None:
    """Log a WebSocket that has ended, with what went through it."""
    machine, outbox = connection.machine, connection.outbox
    line = logs.websocket_line(
        connection.peer,
        connection.ws.request.path,
        machine.close_code,
        machine.close_reason,
        connection.loop_state.clock() - connection.opened_at,
        (connection.received_messages, connection.received_bytes),
        (outbox.sent_messages, outbox.sent_bytes),
        by_peer=machine.closed_by_peer,
    )
    logs.access.info("%s", line)
