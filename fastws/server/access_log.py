"""The lines of the access log: one for each HTTP response, one for each WebSocket that has ended.

A line is an object: as text it is the line, and ``log_fields`` has its parts for other formats, so that
nothing is looked up that nobody writes. Who keeps it longer than the call has the text as it was then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws import logs

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.protocol.http.messages import Request
    from fastws.server.site import Site

__all__ = ["ResponseLine", "WebSocketLine", "log_response", "log_websocket"]


def log_response(
    site: Site, connection: Connection, request: Request | None, status: int, size: int, started_at: float
) -> None:
    """Log a response of ``size`` bytes; ``request`` is None where none could be read.

    ``started_at`` is when the request had come, on the loop's clock.
    """
    seconds = 0.0 if request is None else connection.loop_state.clock() - started_at
    logs.access.info("%s", ResponseLine(site, connection, request, status, size, seconds))


def log_websocket(site: Site, connection: Connection) -> None:
    """Log a WebSocket that has ended, with what went through it."""
    logs.access.info("%s", WebSocketLine(site, connection))


class _Line:
    """A line about a request."""

    __slots__ = ("_connection", "_request", "_site", "_text")

    def __init__(self, site: Site, connection: Connection, request: Request | None, text: str) -> None:
        self._site = site
        self._connection = connection
        self._request = request
        self._text = text

    def __str__(self) -> str:
        return self._text

    def _request_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"peer": logs.peer_text(self._connection.peer)}
        request = self._request
        if request is None:
            return fields
        endpoint = self._site.router_of(self._connection).match(request)
        return fields | {
            "request_id": request.request_id,
            "trace_id": request.trace_id,
            "method": request.method,
            "target": logs.conceal(request.target),
            "path": request.path,
            "route": None if endpoint is None else endpoint.path,
            "version": request.http_version,
            "user": logs.user_text(request.user) or None,
            "user_agent": request.headers.get("user-agent"),
            "referer": _concealed(request.headers.get("referer")),
        }


class ResponseLine(_Line):
    """The line of a response."""

    __slots__ = ("_seconds", "_size", "_status")

    def __init__(
        self,
        site: Site,
        connection: Connection,
        request: Request | None,
        status: int,
        size: int,
        seconds: float,
    ) -> None:
        method, target, version = "-", "-", "-"
        if request is not None:
            method, target, version = request.method, request.target, request.http_version
        text = logs.http_line(connection.peer, method, target, version, status, size, seconds)
        super().__init__(site, connection, request, text)
        self._status = status
        self._size = size
        self._seconds = seconds

    def log_fields(self) -> dict[str, Any]:
        """Return the parts of the line by name."""
        return {
            "event": "response",
            **self._request_fields(),
            "status": self._status,
            "bytes": self._size,
            "seconds": round(self._seconds, 6),
        }


class WebSocketLine(_Line):
    """The line of a WebSocket that has ended."""

    __slots__ = ("_seconds",)

    def __init__(self, site: Site, connection: Connection) -> None:
        request = connection.ws.request
        machine, outbox = connection.machine, connection.outbox
        self._seconds = connection.loop_state.clock() - connection.opened_at
        text = logs.websocket_line(
            connection.peer,
            request.path,
            machine.close_code,
            machine.close_reason,
            self._seconds,
            (connection.received_messages, connection.received_bytes),
            (outbox.sent_messages, outbox.sent_bytes),
            by_peer=machine.closed_by_peer,
            notes={
                "peak queue": outbox.peak_queue,
                "dropped": outbox.dropped,
                "resumed": outbox.resumed,
                "user": logs.user_text(request.user),
                "id": request.request_id,
            },
        )
        super().__init__(site, connection, request, text)

    def log_fields(self) -> dict[str, Any]:
        """Return the parts of the line by name."""
        connection = self._connection
        machine, outbox = connection.machine, connection.outbox
        return {
            "event": "websocket",
            **self._request_fields(),
            "code": machine.close_code,
            "reason": machine.close_reason,
            "initiator": "peer" if machine.closed_by_peer else "server",
            "seconds": round(self._seconds, 6),
            "messages_received": connection.received_messages,
            "bytes_received": connection.received_bytes,
            "messages_sent": outbox.sent_messages,
            "bytes_sent": outbox.sent_bytes,
            "peak_queue": outbox.peak_queue,
            "dropped": outbox.dropped,
            "resumed": outbox.resumed,
        }


def _concealed(target: str | None) -> str | None:
    return None if target is None else logs.conceal(target)
