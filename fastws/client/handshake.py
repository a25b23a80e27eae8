"""A client's connection until the server has answered the handshake."""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastws.client.credentials import one_cookie_field
from fastws.client.redirects import STATUSES, HandshakeTarget
from fastws.client.refusal import RefusalTimer
from fastws.config import Compression, Limits, Timeouts
from fastws.connection.counters import UNCOUNTED
from fastws.connection.lifetime import PONG_GRACE_SECONDS
from fastws.connection.websocket import WebSocket
from fastws.errors import HandshakeError, HandshakeInterrupted, HandshakeRefused
from fastws.protocol.http.messages import Response
from fastws.protocol.websocket.handshake import new_key, request_head

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.connection.handlers import Callbacks

__all__ = ["ClientPhase", "ClientHandshake", "ClientHost"]


@dataclass(frozen=True, slots=True)
class ClientHandshake:
    """What one handshake asks for, and the settings of the WebSocket that comes of it."""

    target: HandshakeTarget
    callbacks: Callbacks
    subprotocols: tuple[str, ...]
    compression: Compression | None
    limits: Limits
    timeouts: Timeouts
    #: False: a redirect is a refusal like any other.
    follows_redirects: bool = True

    def request_head(self, key: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
        """Return the request to upgrade (RFC 6455, section 4.1). Raises ``ValueError``."""
        target = self.target
        return request_head(
            host=target.address.authority,
            target=target.address.target,
            key=key,
            origin=target.origin,
            subprotocols=self.subprotocols,
            compression=self.compression,
            headers=one_cookie_field([*target.headers, *fields]),
        )


class ClientPhase:
    """Writes the request and reads the answer; then the WebSocket takes its place."""

    __slots__ = ("_body_timer", "_connection", "_handshake", "_http", "_key", "_opened")

    def __init__(
        self,
        connection: Connection,
        handshake: ClientHandshake,
        opened: asyncio.Future[WebSocket],
        key: bytes,
        request: bytes,
        deadline: float | None,
    ) -> None:
        self._connection = connection
        self._handshake = handshake
        self._opened = opened
        self._key = key
        #: What reads the response. The machine drops it before it tells of the end.
        self._http: Any = connection.machine.http
        self._body_timer = RefusalTimer(deadline)
        connection.outbox.write_http(request)
        connection.outbox.flush()

    def received(self, data: bytes | memoryview) -> None:
        try:
            for response in self._connection.machine.receive(data, len(data)):
                self._answered(response)
            self._await_body()
        except HandshakeError as exc:
            self._fail(exc)

    def _await_body(self) -> None:
        """Bound the wait for the body of a refusal: its status decides, and no body may take that away."""
        refusal = None if self._opened.done() else self._http.refusal()
        if refusal is None:
            return
        if refusal.status in STATUSES and self._handshake.follows_redirects:
            self._answered(refusal)
        else:
            self._body_timer.start(self._end_body)

    def _end_body(self) -> None:
        refusal = self._http.refusal()
        if refusal is not None and not self._opened.done():
            self._answered(refusal)

    def _answered(self, response: Response) -> None:
        connection, handshake = self._connection, self._handshake
        if response.status != 101:
            connection.machine.refused()
            self._fail(HandshakeRefused(response))
            return
        if self._opened.done():
            connection.abort()  # connect() was cancelled: no caller is left for on_open
            return
        subprotocol = connection.machine.opened(
            response,
            handshake.limits,
            key=self._key,
            subprotocols=handshake.subprotocols,
            deflate=connection.loop_state.deflate_pool(handshake.compression),
        )
        ws = connection.open(
            handshake.callbacks,
            handshake.limits,
            handshake.timeouts,
            None,
            response,
            subprotocol,
            UNCOUNTED,
        )
        if not self._opened.done():
            self._opened.set_result(ws)

    def _fail(self, exc: Exception) -> None:
        self._body_timer.cancel()
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
        """This phase sets no deadline: ``open_timeout`` bounds all of it."""

    def drained(self) -> None:
        """Nothing waits for the socket in this phase."""

    def lost(self, exc: Exception | None) -> None:
        self._body_timer.cancel()
        if self._opened.done():
            return
        refusal = self._http.refusal()
        if refusal is not None:
            self._opened.set_exception(HandshakeRefused(refusal))
        else:
            self._opened.set_exception(
                exc or HandshakeInterrupted("the server closed the connection in the handshake")
            )


class ClientHost:
    """The host of one client connection. A server counts its connections; a client does not."""

    __slots__ = ("_deadline", "_handshake", "_key", "_opened", "_request", "limits")

    pong_grace_seconds = PONG_GRACE_SECONDS

    def __init__(
        self,
        handshake: ClientHandshake,
        opened: asyncio.Future[WebSocket],
        fields: list[tuple[bytes, bytes]],
        deadline: float | None = None,
    ) -> None:
        self._deadline = deadline
        self._handshake = handshake
        self._opened: asyncio.Future[WebSocket] | None = opened
        self._key = new_key()
        # Write the request before anything is connected: a wrong header raises here.
        self._request = handshake.request_head(self._key, fields)
        self.limits = handshake.limits

    def connection_open(self, connection: Connection) -> None:
        # Hand the future over and keep no reference: it will hold the WebSocket, and so this connection.
        opened, self._opened = self._opened, None
        assert opened is not None
        connection.phase = ClientPhase(
            connection, self._handshake, opened, self._key, self._request, self._deadline
        )

    def callback_context(self) -> Context:
        """Return the context of the callbacks where the poller reads the socket: the one of this moment."""
        return copy_context()

    def pong_missed(self, connection: Connection) -> None:
        connection.cut_silent_peer()

    def keep_fresh(self, connection: Connection) -> None:
        """What a client sends is its own application's."""

    def websocket_closed(self, connection: Connection) -> None:
        """A client counts no connections."""

    def connection_lost(self, connection: Connection) -> None:
        """A client counts no connections."""
