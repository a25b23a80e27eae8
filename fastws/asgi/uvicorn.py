"""Our WebSocket for any uvicorn user: ``uvicorn --ws fastws.uvicorn:FastWSProtocol app:app``.

uvicorn keeps HTTP, lifespan, logging and its process; from a request to upgrade on, the connection is
one of ours, with its limits, compression, pings, back-pressure and broadcasts. uvicorn's options
``--ws-max-size --ws-max-queue --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --root-path``
mean what they say. Pages of every origin may connect, as under uvicorn itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from fastws.asgi.application import ASGI
from fastws.asgi.mount import Mount
from fastws.asgi.scope import address
from fastws.asgi.websocket import Session
from fastws.config import Compression, Limits, Settings, Timeouts
from fastws.connection.connection import Connection
from fastws.protocol.websocket.frames import CloseCode
from fastws.protocol.websocket.machine import Machine
from fastws.server.server import Server

if TYPE_CHECKING:
    from fastws.protocol.http.messages import Request

__all__ = ["FastWSProtocol"]

log = logging.getLogger("uvicorn.error")

#: uvicorn's level below DEBUG.
TRACE = 5

#: uvicorn closes with this code when it stops: clients may come back. It is in the registry that
#: RFC 6455, section 11.7, made.
SERVICE_RESTART = 1012


class _UvicornMount(Mount):
    """The application that uvicorn has loaded, with the headers and the log of uvicorn."""

    __slots__ = ("_server_state",)

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        super().__init__(config.loaded_app, config.root_path.rstrip("/"), state=app_state, log=log)
        self._server_state = server_state

    def extra_headers(self) -> list[tuple[bytes, bytes]]:
        return list(self._server_state.default_headers)

    def websocket_accepted(self, request: Request) -> None:
        self._log(request, "[accepted]")
        log.info("connection open")

    def websocket_refused(self, request: Request, status: int) -> None:
        self._log(request, str(status))

    def _log(self, request: Request, outcome: str) -> None:
        client = address(request.peer)
        query = f"?{request.query}" if request.query else ""
        log.info(
            '%s - "WebSocket %s" %s',
            f"{client[0]}:{client[1]}" if client else "",
            quote(self.root_path + request.path) + query,
            outcome,
        )


def _route(config: Any, server_state: Any, app_state: dict[str, Any]) -> ASGI:
    """Return uvicorn's application as a route; uvicorn runs its lifespan."""
    route = ASGI(config.loaded_app, root_path=config.root_path, lifespan="off", origins=["*"])
    route.mount = _UvicornMount(config, server_state, app_state)
    # uvicorn waits for these tasks when it stops, and then cancels them.
    route.tasks = server_state.tasks
    return route


def _first_look(ping_timeout: float | None) -> float | None:
    """Return when a pong is looked for first: before uvicorn's timeout by a second, or by a third of it."""
    return ping_timeout - min(ping_timeout / 3, 1.0) if ping_timeout else None


def _trace(connection: Connection, what: str) -> None:
    if log.isEnabledFor(TRACE):
        client = address(connection.peer)
        log.log(TRACE, "%s%s", f"{client[0]}:{client[1]} - " if client else "", what)


class _Server(Server):
    """Keeps the connections of one uvicorn server; listens nowhere."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        settings = Settings(
            limits=Limits(max_message_size=config.ws_max_size, receive_queue=config.ws_max_queue),
            timeouts=Timeouts(
                ping_interval=config.ws_ping_interval or None,
                ping_timeout=_first_look(config.ws_ping_timeout),
            ),
            compression=Compression() if config.ws_per_message_deflate else None,
            headers=(),
            access_log=False,
        )
        super().__init__(_route(config, server_state, app_state), settings)
        # The rest of uvicorn's ``--ws-ping-timeout`` behind the first look for a pong.
        self.pong_grace_seconds = min((settings.timeouts.ping_timeout or 0.0) / 2, 1.0)
        self.protocols: dict[Connection, FastWSProtocol] = {}
        self._server_state = server_state

    def accept(self, protocol: FastWSProtocol) -> Connection:
        machine = Machine.server(self.limits, tuple(self._server_state.default_headers))
        connection = Connection(self._loop_state, machine, self, self.settings.timeouts)
        self.protocols[connection] = protocol
        return connection

    def pong_missed(self, connection: Connection) -> None:
        """Say why in a close frame, which the peer may still read, and end TCP behind it, as uvicorn does."""
        _trace(connection, "WebSocket keepalive ping timeout")
        connection.close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        connection.outbox.flush()
        if connection.outbox.blocked:
            connection.abort()  # the frame cannot leave
        else:
            connection.transport.close()

    def connection_open(self, connection: Connection) -> None:
        self._server_state.connections.add(self.protocols[connection])
        super().connection_open(connection)
        _trace(connection, "WebSocket connection made")

    def connection_lost(self, connection: Connection) -> None:
        self._server_state.connections.discard(self.protocols.pop(connection, None))
        super().connection_lost(connection)
        if connection.ws is not None:
            log.info("connection closed")
        _trace(connection, "WebSocket connection lost")


_servers: WeakKeyDictionary[Any, _Server] = WeakKeyDictionary()


class FastWSProtocol:
    """The protocol that uvicorn makes for each request to upgrade, and feeds with that request.

    It has the methods of an ``asyncio.Protocol``, and they are those of the connection itself.
    """

    __slots__ = (
        "_connection",
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        server = _servers.get(config)
        if server is None:
            _servers[config] = server = _Server(config, server_state, app_state)
        connection = self._connection = server.accept(self)
        self.data_received = connection.bytes_received
        self.connection_lost = connection.connection_lost
        self.eof_received = connection.eof_received
        self.pause_writing = connection.pause_writing
        self.resume_writing = connection.resume_writing

    def connection_made(self, transport: Any) -> None:
        self._connection.connection_made(transport)

    @property
    def transport(self) -> Any:
        """The transport, as uvicorn's own protocols name it."""
        return self._connection.transport

    def shutdown(self) -> None:
        """uvicorn stops: close with 1012; answer 503 where the application has not accepted."""
        connection = self._connection
        phase = connection.phase
        if connection.ws is not None:
            connection.close(SERVICE_RESTART, "")
        elif isinstance(phase, Session):
            phase.timed_out()
        elif phase is not None and not phase.stop():
            # Answered already, and all of the answer has left: only the peer's end of TCP is missing.
            connection.abort()
