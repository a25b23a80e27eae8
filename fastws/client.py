"""The client: ``fastws.connect``."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastws.config import DEFAULT_COMPRESSION, Compression, Limits, Timeouts
from fastws.connection import Connection
from fastws.context import LoopContext, context_of
from fastws.errors import HandshakeError, InvalidURL, Refused
from fastws.handlers import Callbacks, Handler
from fastws.protocol import handshake
from fastws.protocol.machine import Machine
from fastws.protocol.messages import Response
from fastws.routes import changed
from fastws.websocket import WebSocket

__all__ = ["Address", "connect", "parse_url"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a ``ws://`` or ``wss://`` URL leads."""

    secure: bool
    host: str
    port: int
    #: The Host field: with the port only where it is not the scheme's own.
    authority: str
    #: Path and query, percent-encoded.
    target: str


def parse_url(url: str) -> Address:
    """Read a WebSocket URL (RFC 6455, section 3). Raises :class:`fastws.InvalidURL`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidURL(f"{url!r} is no URL: {exc}") from None
    if parts.scheme not in ("ws", "wss"):
        raise InvalidURL(f"{url!r} does not begin with ws:// or wss://")
    if not parts.hostname:
        raise InvalidURL(f"{url!r} names no host")
    if parts.fragment or url.endswith("#"):
        raise InvalidURL(f"{url!r} has a fragment, which a WebSocket URL must not")
    if parts.username is not None:
        raise InvalidURL("credentials in a URL are not sent; give an Authorization header")
    secure = parts.scheme == "wss"
    default = 443 if secure else 80
    try:
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    except UnicodeError:
        raise InvalidURL(f"{url!r} has a host name that cannot be encoded") from None
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Address(secure, host, port or default, authority, target)


class _Inboxed(Handler):
    """Messages wait for ``recv``: the coroutine style."""

    __slots__ = ()

    def on_open(self, ws: WebSocket) -> None:
        ws.open_inbox()

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.deliver(message)


class ClientPhase:
    """A client's connection until the server has answered the handshake."""

    __slots__ = ("_connect", "_connection", "_key", "opened")

    def __init__(
        self, connection: Connection, connecting: connect, opened: asyncio.Future[WebSocket]
    ) -> None:
        self._connection = connection
        self._connect = connecting
        self._key = handshake.new_key()
        self.opened = opened
        request = connecting.request_head(self._key)
        connection.outbox.push(request, True)
        connection.outbox.flush()

    def received(self, data: bytes | memoryview) -> None:
        try:
            for response in self._connection.machine.receive(data):
                self._answered(response)
        except HandshakeError as exc:
            self._fail(exc)

    def _answered(self, response: Response) -> None:
        connection, connecting = self._connection, self._connect
        if response.status != 101:
            connection.machine.refused()
            self._fail(Refused(response))
            return
        subprotocol = connection.machine.opened(
            response,
            connecting.limits,
            key=self._key,
            subprotocols=connecting.subprotocols,
            deflate=connection.context.deflate_pool(connecting.compression),
        )
        ws = connection.open(
            connecting.callbacks, connecting.limits, connecting.timeouts, None, response, subprotocol
        )
        if not self.opened.done():
            self.opened.set_result(ws)

    def _fail(self, exc: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc)
        self._connection.abort()

    def eof_received(self) -> bool:
        try:
            self._connection.machine.http.receive_eof()
            for response in self._connection.machine.receive(b""):
                self._answered(response)
        except HandshakeError as exc:
            self._fail(exc)
        return False

    def timed_out(self) -> None:
        self._fail(TimeoutError("the server did not answer the handshake in time"))

    def drained(self) -> None:
        """Nothing waits for the socket in this phase."""

    def lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(
                exc or HandshakeError("the server closed the connection in the handshake")
            )


class connect:
    """Connect to a WebSocket server: ``async with connect(url) as ws``, or ``ws = await connect(url)``.

    Leaving the block closes with 1000 and waits for the end. ``handler``, a
    :class:`fastws.Handler`, takes messages by callbacks; without it ``async for``/``recv`` do.

    ``subprotocols`` in order of preference, ``headers`` and ``origin`` added to the request;
    ``compression`` is offered (None: not); ``limits`` and ``timeouts`` as a value or as a mapping of
    the fields to change. ``open_timeout`` bounds TCP, TLS and the handshake together (10 s). ``ssl``
    is an ``ssl.SSLContext`` for ``wss`` (default: the system's authorities); ``server_hostname``,
    ``sock`` and ``unix`` as in ``loop.create_connection``.

    Raises :class:`fastws.InvalidURL`, ``OSError`` (no connection, ``ssl.SSLError`` among them),
    ``TimeoutError``, :class:`fastws.Refused` with the server's answer, and
    :class:`fastws.HandshakeError` for an answer that is none. Cancelling leaves nothing behind.
    """

    def __init__(
        self,
        url: str,
        *,
        handler: Any = None,
        subprotocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        origin: str | None = None,
        compression: Compression | None = DEFAULT_COMPRESSION,
        limits: Limits | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        open_timeout: float | None = 10.0,
        ssl: ssl_module.SSLContext | None = None,
        server_hostname: str | None = None,
        sock: socket.socket | None = None,
        unix: str | os.PathLike[str] | None = None,
    ) -> None:
        self.address = parse_url(url)
        self.callbacks = Callbacks(_Inboxed() if handler is None else handler)
        self.subprotocols = tuple(subprotocols)
        self._headers = Response(
            headers=list(headers.items() if isinstance(headers, Mapping) else headers)
        ).raw_headers
        self._origin = origin
        self.compression = compression
        self.limits: Limits = changed(Limits(), limits)
        self.timeouts: Timeouts = changed(Timeouts(), timeouts)
        self._open_timeout = open_timeout
        if ssl is not None and not self.address.secure:
            raise InvalidURL("ssl= goes with a wss:// URL")
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._sock = sock
        self._unix = unix
        self._ws: WebSocket | None = None

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._open().__await__()

    async def __aenter__(self) -> WebSocket:
        self._ws = await self._open()
        return self._ws

    async def __aexit__(self, *_: object) -> None:
        assert self._ws is not None
        await self._ws.close()

    async def _open(self) -> WebSocket:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[WebSocket] = loop.create_future()
        context = context_of(loop)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._open_timeout):
                connection = await self._connect(loop, context, opened)
                return await opened
        except BaseException:
            if opened.done() and not opened.cancelled():
                opened.exception()
            if connection is not None:
                connection.abort()
            raise

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, context: LoopContext, opened: asyncio.Future[WebSocket]
    ) -> Connection:
        connection: Connection

        def factory() -> Any:
            return Connection(
                context, Machine.client(self.limits, context.mask), _Owner(self, opened), self.timeouts
            )

        options: dict[str, Any] = {}
        if self.address.secure:
            options["ssl"] = self._ssl or ssl_module.create_default_context()
            options["ssl_handshake_timeout"] = self.timeouts.tls_handshake
            options["server_hostname"] = self._server_hostname or self.address.host
        if self._unix is not None:
            _, connection = await loop.create_unix_connection(factory, os.fspath(self._unix), **options)
        elif self._sock is not None:
            _, connection = await loop.create_connection(factory, sock=self._sock, **options)
        else:
            address = self.address
            _, connection = await loop.create_connection(factory, address.host, address.port, **options)
        return connection

    def request_head(self, key: bytes) -> bytes:
        """Return the request to upgrade (RFC 6455, section 4.1)."""
        return handshake.request_head(
            host=self.address.authority,
            target=self.address.target,
            key=key,
            origin=self._origin,
            subprotocols=self.subprotocols,
            compression=self.compression,
            headers=self._headers,
        )


class _Owner:
    """Keeps one client connection; there is nobody to count it."""

    __slots__ = ("_connect", "_opened", "limits")

    def __init__(self, connecting: connect, opened: asyncio.Future[WebSocket]) -> None:
        self._connect = connecting
        self._opened = opened
        self.limits = connecting.limits

    def connection_open(self, connection: Connection) -> None:
        connection.phase = ClientPhase(connection, self._connect, self._opened)

    def websocket_closed(self, connection: Connection) -> None:
        pass

    def connection_lost(self, connection: Connection) -> None:
        pass
