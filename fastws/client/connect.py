"""The client: ``fastws.connect``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from fastws.client.credentials import BasicAuth, BearerAuth, cookie_field
from fastws.client.handshake import ClientHandshake, ClientHost
from fastws.client.reconnect import Backoff, Retry, is_retryable, retry_after
from fastws.client.redirects import HandshakeTarget, follow
from fastws.client.target import Target, TargetOptions
from fastws.client.url import Address, parse_url
from fastws.config import (
    DEFAULT_COMPRESSION,
    Compression,
    Limits,
    Timeouts,
    check_options,
    checked_compression,
)
from fastws.connection.connection import Connection
from fastws.connection.handlers import Callbacks, Handler, HandlerLike
from fastws.connection.stream_handlers import streaming as in_parts
from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosedOK, HandshakeRefused
from fastws.loop.state import loop_state_of
from fastws.protocol.http.messages import Response
from fastws.protocol.websocket.machine import Machine
from fastws.web.routes import changed, names

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["Address", "connect", "parse_url"]

log = logging.getLogger("fastws.client.connect")


class _Inboxed(Handler):
    """Messages wait for ``recv``: the coroutine style."""

    __slots__ = ()

    def on_open(self, ws: WebSocket) -> None:
        ws.open_inbox()

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.deliver(message)


class connect:
    """Connect to a WebSocket server: ``async with connect(url) as ws``, or ``ws = await connect(url)``.

    Leaving the block closes with 1000 and waits for the end (``timeouts.close``, 5 s, at most).
    ``async for ws in connect(url)``
    connects again whenever the body of the loop has ended, and closes what it left open. ``retry``, a
    function of the exception (of a handshake, or the ``ConnectionClosed`` of a WebSocket), decides
    what is worth another try (default: :func:`fastws.is_retryable`); the rest is raised, but a close
    as intended ends the loop. ``backoff`` says how long to wait (:class:`fastws.Backoff`).

    ``handler``, a :class:`fastws.Handler` or an ``async def handler(ws)``, takes messages by
    callbacks; without it ``async for``/``recv`` do. A coroutine that goes on after its WebSocket is
    cancelled when the block is left. ``streaming`` gives them out in parts
    (``ws.recv_streaming()``) and switches compression off.

    The request: ``subprotocols`` in order of preference, ``headers``, ``origin``, ``auth`` (a
    :class:`fastws.BasicAuth` or :class:`fastws.BearerAuth`), ``cookies`` (a mapping, or a
    ``http.cookiejar.CookieJar``, which also takes what the server sets); ``compression`` is offered
    (None: not). Up to ``max_redirects`` redirects are followed (0: none), without credentials to
    another origin and never from ``wss`` to ``ws``.

    The connection: ``ssl`` is an ``ssl.SSLContext`` for ``wss`` (default: the system's authorities),
    ``server_hostname`` the name that its certificate must have. ``proxy`` is True (what
    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` say), the URL of an HTTP or SOCKS
    proxy, or None; ``proxy_ssl`` is the context for an ``https`` one. ``sock`` is a connected socket,
    ``unix`` a path, ``host`` and ``port`` lead elsewhere than the URL; ``local_addr`` binds.
    A host's addresses are tried ``happy_eyeballs_delay`` seconds apart (0.25).

    ``limits`` and ``timeouts`` are values, or mappings of the fields to change. ``open_timeout``
    bounds everything until the WebSocket is open (10 s).

    Raises :class:`fastws.InvalidURL`, ``OSError`` (no connection, ``ssl.SSLError`` among them),
    ``TimeoutError``, :class:`fastws.ProxyError`, :class:`fastws.HandshakeRefused` with the server's answer,
    and :class:`fastws.HandshakeError` for an answer that is none. Cancelling leaves nothing behind.
    """

    def __init__(
        self,
        url: str,
        *,
        handler: HandlerLike | None = None,
        streaming: bool = False,
        subprotocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        origin: str | None = None,
        auth: BasicAuth | BearerAuth | None = None,
        cookies: Mapping[str, str] | CookieJar | None = None,
        compression: Compression | None = DEFAULT_COMPRESSION,
        limits: Limits | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        open_timeout: float | None = 10.0,
        max_redirects: int = 10,
        retry: Retry = is_retryable,
        backoff: Backoff | None = None,
        **way: Unpack[TargetOptions],
    ) -> None:
        check_options("connect", way, TargetOptions.__annotations__)
        address = parse_url(url)
        given: HandlerLike = _Inboxed() if handler is None else handler
        if streaming:
            given = in_parts(given)
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        if auth is not None:
            fields.append(("Authorization", auth.authorization))
        self._jar: CookieJar | None = None
        if isinstance(cookies, Mapping):
            fields.append(("Cookie", cookie_field(cookies)))
        else:
            self._jar = cookies
        all_timeouts: Timeouts = changed(Timeouts(), timeouts)
        self._opening = ClientHandshake(
            HandshakeTarget(address, tuple(Response(headers=fields).raw_headers), origin),
            Callbacks(given),
            names("subprotocols", subprotocols),
            None if getattr(given, "takes_parts", False) else checked_compression(compression),
            changed(Limits(), limits),
            all_timeouts,
        )
        self._way = Target(tls_handshake=all_timeouts.tls_handshake, **way)
        self._way.check(address)
        self._open_timeout = open_timeout
        self._max_redirects = max_redirects
        self._retry = retry
        self._backoff = Backoff() if backoff is None else backoff
        self._ws: WebSocket | None = None

    # -- one WebSocket --------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._open().__await__()

    async def __aenter__(self) -> WebSocket:
        self._ws = await self._open()
        return self._ws

    async def __aexit__(self, *_: object) -> None:
        assert self._ws is not None
        await self._end(self._ws)

    async def _end(self, ws: WebSocket) -> None:
        """Close, and end a coroutine handler that goes on after the end of its WebSocket."""
        opening = self._opening
        try:
            await ws.close()
            if opening.callbacks.tasks:
                await asyncio.wait(opening.callbacks.tasks, timeout=opening.timeouts.close)
        finally:
            for task in opening.callbacks.tasks:
                task.cancel()

    # -- one after the other --------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[WebSocket]:
        """Connect again and again; see the class for when it ends."""
        if self._way.sock is not None:
            raise ValueError("sock= can be used once, not to connect again")
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                ws = await self._open()
            except Exception as exc:
                await self._pause(exc, failures)
                failures += 1
                continue
            opened_at = loop.time()
            try:
                yield ws
            finally:
                ended = ws.closed_error() if ws.closed else None
                await self._end(ws)
            if loop.time() - opened_at >= self._backoff.reset:
                failures = 0
            if ended is not None:
                try:
                    await self._pause(ended, failures)
                except ConnectionClosedOK:
                    return
                failures += 1

    async def _pause(self, exc: Exception, failures: int) -> None:
        """Wait before the next try. Raises ``exc`` when it is not worth one."""
        if not self._retry(exc):
            raise exc
        delay = self._backoff.delay(failures, retry_after(exc))
        log.info("%s: connecting again in %.1f s", exc, delay)
        await asyncio.sleep(delay)

    # -- the handshake --------------------------------------------------------------------------

    async def _open(self) -> WebSocket:
        opening, left = self._opening, self._max_redirects
        try:
            async with asyncio.timeout(self._open_timeout) as limit:
                while True:
                    try:
                        return await self._attempt(opening)
                    except HandshakeRefused as refusal:
                        asked = self._redirected(opening.asked, refusal.response, left)
                        if asked is None:
                            raise
                    opening, left = replace(opening, asked=asked), left - 1
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"no WebSocket within {self._open_timeout:g} s") from None
            raise

    def _redirected(self, asked: HandshakeTarget, response: Response, left: int) -> HandshakeTarget | None:
        """Return what to ask next, None when the answer is no redirect, or one not to be followed."""
        following = follow(asked, response) if self._max_redirects else None
        if following is None:
            return None
        if left == 0:
            raise HandshakeRefused(response, f"more than {self._max_redirects} redirects")
        if self._way.sock is not None or (self._way.is_fixed and not following.first):
            raise HandshakeRefused(response, "a redirect away from sock=, unix= or host= is not followed")
        return following

    async def _attempt(self, opening: ClientHandshake) -> WebSocket:
        """Connect and shake hands once."""
        loop = asyncio.get_running_loop()
        loop_state = loop_state_of(loop)
        address = opening.asked.address
        opened: asyncio.Future[WebSocket] = loop.create_future()
        owner = ClientHost(opening, opened, self._cookies_for(address))

        def factory() -> Connection:
            return Connection(
                loop_state, Machine.client(opening.limits, loop_state.random_mask), owner, opening.timeouts
            )

        # What was given for the first origin is not meant for another.
        way = self._way if opening.asked.first else replace(self._way, server_hostname=None)
        connection: Connection | None = None
        try:
            connection = await way.connect(loop, factory, address)
            ws = await opened
            self._store_cookies(address, ws.response)
            return ws
        except BaseException as exc:
            if opened.done() and not opened.cancelled():
                opened.exception()
            opened.cancel()
            if connection is not None:
                connection.abort()
            if isinstance(exc, HandshakeRefused):
                self._store_cookies(address, exc.response)
            raise
        finally:
            # The future has the exception, whose traceback has this frame.
            del opened

    def _cookies_for(self, address: Address) -> list[tuple[bytes, bytes]]:
        if self._jar is None:
            return []
        from fastws.client.cookies import jar_field

        value = jar_field(self._jar, address)
        return [] if value is None else [(b"Cookie", value.encode("latin-1"))]

    def _store_cookies(self, address: Address, response: Response | None) -> None:
        if self._jar is not None and response is not None:
            from fastws.client.cookies import store_cookies

            store_cookies(self._jar, address, response)
