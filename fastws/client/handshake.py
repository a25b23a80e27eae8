"""A client's connection until the server has answered the handshake."""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastws.client.redirects import HandshakeTarget
from fastws.config import Compression, Limits, Timeouts
from fastws.connection.websocket import WebSocket
from fastws.errors import HandshakeError, HandshakeInterrupted, HandshakeRefused
from fastws.protocol.http.messages import Response
from fastws.protocol.websocket import handshake

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.connection.handlers import Callbacks

__all__ = ["ClientPhase", "ClientHandshake", "ClientHost"]


@dataclass(frozen=True, slots=True)
class ClientHandshake:
    """What one handshake asks for, and what the WebSocket that comes of it is like."""

    asked: HandshakeTarget
    callbacks: Callbacks
    subprotocols: tuple[str, ...]
    compression: Compression | None
    limits: Limits
    timeouts: Timeouts

    def request_head(self, key: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
        """Return the request to upgrade (RFC 6455, section 4.1). Raises ``ValueError``."""
        asked = self.asked
        return handshake.request_head(
            host=asked.address.authority,
            target=asked.address.target,
            key=key,
            origin=asked.origin,
            subprotocols=self.subprotocols,
            compression=self.compression,
            headers=[*asked.headers, *fields],
        )


class ClientPhase:
    """Writes the request, takes the answer, and gives way to the WebSocket."""

    __slots__ = ("_connection", "_key", "_opened", "_opening")

    def __init__(
        self,
        connection: Connection,
        opening: ClientHandshake,
        opened: asyncio.Future[WebSocket],
        key: bytes,
        request: bytes,
    ) -> None:
        self._connection = connection
        self._opening = opening
        self._opened = opened
        self._key = key
        connection.outbox.write_http(request)
        connection.outbox.flush()

    def received(self, data: bytes | memoryview) -> None:
        try:
            for response in self._connection.machine.receive(data, len(data)):
                self._answered(response)
        except HandshakeError as exc:
            self._fail(exc)

    def _answered(self, response: Response) -> None:
        connection, opening = self._connection, self._opening
        if response.status != 101:
            connection.machine.refused()
            self._fail(HandshakeRefused(response))
            return
        if self._opened.done():
            connection.abort()  # cancelled: on_open must not be called for nobody
            return
        subprotocol = connection.machine.opened(
            response,
            opening.limits,
            key=self._key,
            subprotocols=opening.subprotocols,
            deflate=connection.loop_state.deflate_pool(opening.compression),
        )
        ws = connection.open(opening.callbacks, opening.limits, opening.timeouts, None, response, subprotocol)
        if not self._opened.done():
            self._opened.set_result(ws)

    def _fail(self, exc: Exception) -> None:
        if not self._opened.done():
            self._opened.set_exception(exc)
        self._connection.abort()

    def eof_received(self) -> bool:
        try:
            self._connection.machine.http.receive_eof()
            for response in self._connection.machine.receive(b"", 0):
                self._answered(response)
        except HandshakeError as exc:
            self._fail(HandshakeInterrupted(str(exc)))
        return False

    def timed_out(self) -> None:
        """Nobody sets a deadline in this phase: ``connect`` bounds all of it."""

    def drained(self) -> None:
        """Nothing waits for the socket in this phase."""

    def lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(
                exc or HandshakeInterrupted("the server closed the connection in the handshake")
            )


class ClientHost:
    """Keeps one client connection; there is nobody to count it."""

    __slots__ = ("_key", "_opened", "_opening", "_request", "limits")

    def __init__(
        self, opening: ClientHandshake, opened: asyncio.Future[WebSocket], fields: list[tuple[bytes, bytes]]
    ) -> None:
        self._opening = opening
        self._opened: asyncio.Future[WebSocket] | None = opened
        self._key = handshake.new_key()
        # Made before anything is connected: it may raise.
        self._request = opening.request_head(self._key, fields)
        self.limits = opening.limits

    def connection_open(self, connection: Connection) -> None:
        # Handed over, not kept: it is going to hold the WebSocket, and so this connection.
        opened, self._opened = self._opened, None
        assert opened is not None
        connection.phase = ClientPhase(connection, self._opening, opened, self._key, self._request)

    def callback_context(self) -> Context:
        """Where the callbacks run when the connection is read past its transport: where they do now."""
        return copy_context()

    def websocket_closed(self, connection: Connection) -> None:
        """Nobody counts."""

    def connection_lost(self, connection: Connection) -> None:
        """Nobody counts."""
