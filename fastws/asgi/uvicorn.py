"""Our WebSocket for any uvicorn user: ``uvicorn --ws fastws.uvicorn:FastWSProtocol app:app``.

uvicorn keeps HTTP, lifespan, logging and its process; from a request to upgrade on, the connection is
one of ours, with its limits, compression, pings, back-pressure and broadcasts. What uvicorn's options
``--ws-max-size --ws-max-queue --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --root-path``
say is done; every page may connect, as under uvicorn itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from fastws.asgi.application import ASGI
from fastws.asgi.scope import address
from fastws.config import Compression, Limits, Settings, Timeouts
from fastws.connection.connection import Connection
from fastws.protocol.websocket.machine import Machine
from fastws.server.serve import Server

if TYPE_CHECKING:
    from fastws.protocol.http.messages import Request

__all__ = ["FastWSProtocol"]

log = logging.getLogger("uvicorn.error")

#: uvicorn closes with this when it stops: clients may come back (RFC 6455's registry).
SERVICE_RESTART = 1012


class _Application(ASGI):
    """The application that uvicorn has loaded, with the headers and the log of uvicorn."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        super().__init__(config.loaded_app, root_path=config.root_path, lifespan="off", origins=["*"])
        self.state = app_state
        #: uvicorn waits for these when it stops, and cancels them.
        self.tasks = server_state.tasks
        self.log = log
        self._server_state = server_state

    def more_headers(self) -> list[tuple[bytes, bytes]]:
        return list(self._server_state.default_headers)

    def accepted(self, request: Request) -> None:
        self._log(request, "[accepted]")

    def refused(self, request: Request, status: int) -> None:
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


class _Server(Server):
    """Keeps the connections of one uvicorn server; listens nowhere."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        settings = Settings(
            limits=Limits(max_message_size=config.ws_max_size, receive_queue=config.ws_max_queue),
            timeouts=Timeouts(
                ping_interval=config.ws_ping_interval or None, ping_timeout=config.ws_ping_timeout or None
            ),
            compression=Compression() if config.ws_per_message_deflate else None,
            headers=(),
            access_log=False,
        )
        super().__init__(_Application(config, server_state, app_state), settings)
        self.protocols: dict[Connection, FastWSProtocol] = {}
        self._server_state = server_state

    def accept(self, protocol: FastWSProtocol) -> Connection:
        machine = Machine.server(self.limits, tuple(self._server_state.default_headers))
        connection = Connection(self._loop_state, machine, self, self.settings.timeouts)
        self.protocols[connection] = protocol
        return connection

    def connection_open(self, connection: Connection) -> None:
        self._server_state.connections.add(self.protocols[connection])
        super().connection_open(connection)

    def connection_lost(self, connection: Connection) -> None:
        self._server_state.connections.discard(self.protocols.pop(connection, None))
        super().connection_lost(connection)


_servers: WeakKeyDictionary[Any, _Server] = WeakKeyDictionary()


class FastWSProtocol:
    """What uvicorn makes for each request to upgrade; it feeds the request by hand.

    An ``asyncio.Protocol`` by its methods, which are those of the connection itself.
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

    def shutdown(self) -> None:
        """uvicorn stops: close with 1012; who has no WebSocket yet is cut with its application's answer."""
        connection = self._connection
        if connection.ws is not None:
            connection.close(SERVICE_RESTART, "")
        elif connection.phase is not None:
            connection.phase.timed_out()
