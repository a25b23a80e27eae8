"""The client: ``fastws.connect``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from fastws import logs
from fastws.client.connector import Connector, end_tasks
from fastws.client.credentials import BasicAuth, BearerAuth, cookie_field, cookie_jar
from fastws.client.fields import USER_AGENT, request_fields
from fastws.client.handshake import ClientHandshake
from fastws.client.reconnect import Backoff, Retry, is_retryable, retry_after
from fastws.client.redirects import HandshakeTarget
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
from fastws.connection.handlers import Callbacks, Handler, HandlerLike
from fastws.connection.stream_handlers import streaming as in_parts
from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosedOK
from fastws.protocol.http.messages import Response
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
    """Connect to a WebSocket server, once or again and again.

    ``async with connect(url) as ws`` opens one WebSocket. Leaving the block closes it with 1000 and waits
    for its end and that of a coroutine ``handler``, for ``timeouts.close`` (5 s) at most.

    ``ws = await connect(url)`` opens one too, and closing it is up to you.

    ``async for ws in connect(url)`` connects again whenever the body of the loop has ended, and closes what
    the body left open. Leave the loop by ``break`` or ``return``; catch ``ConnectionClosed`` in the body
    and ``continue``. After a failed attempt, and after a WebSocket that has ended by itself, ``retry``
    decides: if it returns true, the loop waits as ``backoff`` says and connects again; if not, it raises
    the exception, but a close as intended (1000, 1001, no code) ends the loop without one. A connection
    that the body has left open is followed by the next one at once. The URL, ``headers``, ``auth`` and all
    other arguments are the same for each attempt.

    A ``connect`` may be used again once its WebSocket has ended, but not with ``sock``. For two WebSockets
    at the same time make two. Cancelling leaves neither a socket nor a task behind.

    Args:
        url: ``ws://`` or ``wss://``, host, port (80 or 443), path and query (RFC 6455, section 3).
            Without user and password: ``auth`` takes these.
        handler: A :class:`fastws.Handler`, or an ``async def handler(ws)``, takes the messages. A
            coroutine that goes on when the block is left is cancelled after half of ``timeouts.close``, and
            awaited. Default None:
            ``async for message in ws`` and ``ws.recv()`` take them.
        streaming: Give out messages in parts, by ``ws.recv_streaming()``; switches ``compression`` off.
            Default False.
        subprotocols: Names to offer, in order of preference; ``ws.subprotocol`` is what the server chose.
            Default: none.
        headers: Fields to add to the request, as pairs or a mapping. Default: none.
        origin: The Origin field (RFC 6455, section 4.1). Default None: not sent, as is usual for clients
            that are no browsers.
        user_agent: The User-Agent field (RFC 9110, section 10.1.5), unless ``headers`` has one. Default
            ``fastws/`` and the version; None: not sent.
        auth: A :class:`fastws.BasicAuth` or :class:`fastws.BearerAuth`. Default: none.
        cookies: A mapping to send, or a ``http.cookiejar.CookieJar``, which also takes what the server
            sets, and gives each host its own. What is both, such as the cookies of a ``requests.Session`` or
            an ``httpx.Client``, is taken as the jar. A Cookie field in ``headers`` goes before them, in the
            same field (RFC 6265, section 5.4). Default: none.
        compression: The permessage-deflate to offer (RFC 7692). None: offer none.
        limits: A :class:`fastws.Limits`, or a mapping of the fields to change: message sizes, queues.
        timeouts: A :class:`fastws.Timeouts`, or a mapping of the fields to change, in seconds: pings
            (every 20 s), close (5 s), write (10 s), TLS handshake (10 s).
        open_timeout: Seconds for everything until the WebSocket is open, redirects included. Default 10;
            None: no limit. It counts anew for each attempt of ``async for``.
        max_redirects: How many redirects (301, 302, 303, 307, 308) are followed. Another origin gets neither
            Authorization nor Cookie nor a client certificate of ``ssl``, and ``wss`` never becomes ``ws``.
            Default 10; 0: none.
        retry: A function from the exception to a boolean, for ``async for``. The exception is that of an
            attempt, or the ``ConnectionClosed`` of a WebSocket. Default: :func:`fastws.is_retryable`.
        backoff: How long ``async for`` waits before it connects again. Default: :class:`fastws.Backoff`.
        ssl: The ``ssl.SSLContext`` for ``wss``. Default None: the system's authorities. Another origin, to
            which a redirect leads, gets one with the same settings and authorities, but no certificate.
        server_hostname: The name that the server's certificate must have. Default None: the URL's host,
            without a final dot. It does not count after a redirect to another origin.
        sock: A connected ``socket.socket`` to use; it belongs to the connection from then on.
        unix: The path of a Unix socket to connect to, in place of the URL's host.
        host: The host to connect to, in place of the URL's, and past any proxy. The request and the
            certificate's check keep the URL's.
        port: The port to connect to, 1 to 65535, in place of the URL's. A proxy is asked for the URL's.
        local_addr: Host and port of this side. Default None: the system chooses.
        happy_eyeballs_delay: Seconds after which the next address of a host is tried beside the ones
            before (RFC 8305, section 5). Default 0.25.
        proxy: True (default): as ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` say. A URL:
            that HTTP or SOCKS proxy. None: no proxy.
        proxy_ssl: The ``ssl.SSLContext`` for an ``https`` proxy. Default None: the system's authorities.

    Raises:
        InvalidURL: ``url`` or ``proxy`` is not such a URL, or ``ssl`` was given for ``ws``.
        ValueError: Arguments exclude one another, or a header, cookie or subprotocol cannot be sent.
        TypeError: An argument is unknown or of a wrong type.
        OSError: No connection; ``ssl.SSLError`` is an ``OSError``.
        TimeoutError: The WebSocket was not open within ``open_timeout``.
        ProxyError: The proxy did not let the connection through.
        HandshakeRefused: The server's answer was not 101; ``exc.response`` is that answer.
        HandshakeError: The server's answer broke RFC 6455, section 4.1, or the connection ended before it.
        ImportError: A SOCKS proxy needs the package ``python-socks``.
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
        user_agent: str | None = USER_AGENT,
        auth: BasicAuth | BearerAuth | None = None,
        cookies: Mapping[str, str] | CookieJar | None = None,
        compression: Compression | None = DEFAULT_COMPRESSION,
        limits: Limits | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        open_timeout: float | None = 10.0,
        max_redirects: int = 10,
        retry: Retry = is_retryable,
        backoff: Backoff | None = None,
        **target: Unpack[TargetOptions],
    ) -> None:
        check_options("connect", target, TargetOptions.__annotations__)
        address = parse_url(url)
        given: HandlerLike = _Inboxed() if handler is None else handler
        if streaming:
            given = in_parts(given)
        fields, origin = request_fields(headers, auth=auth, origin=origin, user_agent=user_agent)
        jar = cookie_jar(cookies)
        if jar is None and cookies is not None:
            cookie = cookie_field(cast("Mapping[str, str]", cookies))
            fields += Response(headers=[("Cookie", cookie)]).raw_headers
        all_timeouts: Timeouts = changed(Timeouts(), timeouts)
        handshake = ClientHandshake(
            HandshakeTarget(address, tuple(fields), origin),
            Callbacks(given),
            names("subprotocols", subprotocols),
            None if getattr(given, "takes_parts", False) else checked_compression(compression),
            changed(Limits(), limits),
            all_timeouts,
            follows_redirects=max_redirects > 0,
        )
        where = Target(tls_handshake=all_timeouts.tls_handshake, **target)
        where.check(address)
        self._connector = Connector(handshake, where, jar, open_timeout, max_redirects)
        self._retry = retry
        self._backoff = Backoff() if backoff is None else backoff
        self._ws: WebSocket | None = None

    # -- one WebSocket --------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._connector.open().__await__()

    async def __aenter__(self) -> WebSocket:
        self._ws = await self._connector.open()
        return self._ws

    async def __aexit__(self, *_: object) -> None:
        assert self._ws is not None
        await self._end(self._ws)

    async def _end(self, ws: WebSocket) -> None:
        """Close, and end a coroutine handler that goes on, both within ``timeouts.close``.

        The handler has half of that time to end by itself, and the other half to end once it is cancelled.
        """
        handshake = self._connector.handshake
        close = handshake.timeouts.close
        half = None if close is None else close / 2
        tasks = handshake.callbacks.tasks - {asyncio.current_task()}
        try:
            ws.close_nowait()
            if tasks:
                await asyncio.wait(tasks, timeout=half)
        finally:
            await end_tasks({task for task in tasks if not task.done()}, half)
        await ws.wait_closed()

    # -- one after the other --------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[WebSocket]:
        """Connect again and again; see the class for when it ends."""
        if self._connector.target.sock is not None:
            raise ValueError("sock= can be used once, not to connect again")
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                ws = await self._connector.open()
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
        """Wait before the next attempt. Raises ``exc`` when ``retry`` refuses one."""
        if not self._retry(exc):
            raise exc
        delay = self._backoff.delay(failures, retry_after(exc))
        log.info("%s: connecting again in %.1f s", logs.escape(str(exc)), delay)
        await asyncio.sleep(delay)
