"""The server: listeners, the connections they accepted, and how both end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl as ssl_module
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Self, Unpack

from fastws import logs
from fastws.config import NEVER, Settings, check_options
from fastws.connection.connection import Connection
from fastws.connection.handlers import Callbacks, HandlerLike, as_handler
from fastws.loop.state import loop_state_of
from fastws.protocol.websocket.machine import Machine
from fastws.server.address_limits import AddressLimiter
from fastws.server.descriptors import ACCEPTS, accepts_in_bulk, inode, listen_again, take_over
from fastws.server.forwarded import TrustedProxies
from fastws.server.http_phase import ServerPhase
from fastws.server.memory import keep_blocks, trim_when_calm
from fastws.server.settings import SettingsOptions, settings_from
from fastws.web.dates import http_date
from fastws.web.routes import Route, Router
from fastws.web.static_files import Static

__all__ = ["App", "Counters", "Server", "as_routes", "run", "serve", "settings_from"]

log = logging.getLogger("fastws.error")

#: What a person may give to be served: one handler for every path, or routes.
App = HandlerLike | Route | Static | Sequence[Route | Static]

#: Seconds that a stop gives to clients before those that do not read are cut.
GRACE = 10.0
#: Of those, what the process itself needs to end once they are cut.
EXIT_TIME = 0.5
#: Seconds that cancelled handlers have to end after that.
CANCEL_GRACE = 1.0

#: Connections above ``limit_concurrency`` that may ask and be answered 503; any more are closed unheard.
FULL_ANSWERS = 32
#: Seconds between two warnings of that.
FULL_PAUSE = 10.0


@dataclass(slots=True)
class Counters:
    """What a server has done since it began; messages and bytes count when their socket closes."""

    connections: int = 0
    http_responses: int = 0
    websockets_opened: int = 0
    websockets_closed: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    messages_dropped: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    #: Clients closed with 1008, or cut, because they were too slow.
    evicted: int = 0
    #: Connections and handshakes answered 429, for a limit on what one address may do.
    limited: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Server:
    """Listens and serves; made by :func:`serve`. Its methods belong on its event loop; as a context
    manager it shuts down (10 s at most) when the block is left.

    ``settings`` are the defaults of all routes, ``counters`` what it has done so far,
    ``connections`` those that are open now.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.connections: dict[Connection, None] = {}
        self.is_closing = False
        self.trusted = TrustedProxies(settings.trusted_proxies)
        self.addresses = AddressLimiter(
            settings.limit_connections_per_address, settings.limit_handshakes_per_address
        )
        self.router = Router(as_routes(app), settings, Callbacks)
        # A connection takes what the most generous route does, until it knows its own.
        bodies = [endpoint.limits.max_body_size for endpoint in self.router.endpoints]
        self.limits = replace(settings.limits, max_body_size=max(bodies or [settings.limits.max_body_size]))
        self.applications = [
            endpoint.application for endpoint in self.router.endpoints if endpoint.application is not None
        ]
        self._started: list[Any] = []
        self._full_again = 0.0
        #: Shared by all connections; the last one is the date.
        self._response_headers = [field for field in settings.headers if field[0].lower() != b"date"]
        self._response_headers.append((b"Date", b""))
        self._dated = 0
        self._listeners: list[asyncio.Server] = []
        #: The Unix sockets of those, and what was there when they began.
        self._paths: dict[str, tuple[int, int] | None] = {}
        self._poller: Any = None
        self._callback_context: Context | None = None
        self._empty: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop_state = loop_state_of(self._loop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    # -- listening ------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Let ASGI applications start, before anybody is listened to. Raises ``StartupFailed``."""
        for application in self.applications:
            await application.startup()
            self._started.append(application)

    async def listen(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        backlog: int = 2048,
        reuse_port: bool | None = None,
    ) -> None:
        """Listen at one more address: ``host`` (None: every interface) and ``port`` (0: a free one),
        a bound ``sock``, or a path (``unix``), which is taken over from a server that is gone, never
        from one that listens, and removed by :meth:`close`.

        ``ssl`` makes it TLS, ``backlog`` (2048) is how many connections the kernel keeps for us,
        ``reuse_port`` lets several processes share the port. Raises ``OSError`` when it cannot be had.
        """
        import_module("fastws.protocol.http.server")  # now, with h11: the first request need not wait for it
        self.set_date()
        in_bulk = accepts_in_bulk(self._loop)
        options: dict[str, Any] = {"backlog": min(backlog, ACCEPTS) if in_bulk else backlog}
        if ssl is not None:
            options["ssl"] = ssl
            options["ssl_handshake_timeout"] = self.settings.timeouts.tls_handshake or NEVER
        if unix is not None:
            path = os.fsdecode(unix)
            take_over(path)
            listener = await self._loop.create_unix_server(self._accept, path, **options)
            self._paths[path] = inode(path)
        elif sock is not None and sock.family == getattr(socket, "AF_UNIX", None):
            listener = await self._loop.create_unix_server(self._accept, sock=sock, **options)
        elif sock is not None:
            listener = await self._loop.create_server(self._accept, sock=sock, **options)
        else:
            if reuse_port:
                options["reuse_port"] = True
            listener = await self._loop.create_server(self._accept, host, port, **options)
        self._listeners.append(listener)
        if self._poller is None and (poller := self._loop_state.poller_or_none()) is not None:
            self._poller = poller
            poller.keep()
        if in_bulk and backlog > ACCEPTS:
            for each in listener.sockets:
                listen_again(each, backlog)

    def _accept(self) -> Any:
        machine = Machine.server(self.limits, self._response_headers)
        return Connection(self._loop_state, machine, self, self.settings.timeouts)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets listened on, as ``asyncio.Server.sockets``."""
        return tuple(sock for listener in self._listeners for sock in listener.sockets)

    @property
    def port(self) -> int:
        """The port of the first listener. Raises ``IndexError`` when there is none with a port."""
        for sock in self.sockets:
            if isinstance(name := sock.getsockname(), tuple):
                port: int = name[1]
                return port
        raise IndexError("no listener of this server has a port")

    def is_serving(self) -> bool:
        """True from the first :meth:`listen` to :meth:`close`."""
        return bool(self._listeners) and not self.is_closing

    def set_date(self) -> None:
        """Let the next response carry the time of day (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._dated:
            self._dated = now
            self._response_headers[-1] = (b"Date", http_date(now).encode())

    def is_full(self) -> bool:
        """True when the connection that asks is one too many for ``limit_concurrency``."""
        limit = self.settings.limit_concurrency
        return limit is not None and len(self.connections) > limit

    def _is_flooded(self) -> bool:
        """True when so many wait to be told 503 that the next one is not worth a descriptor.

        Only where ``limit_concurrency`` is set.
        """
        limit = self.settings.limit_concurrency
        assert limit is not None
        if len(self.connections) <= limit:
            return False
        now = self._loop.time()
        if now >= self._full_again:
            self._full_again = now + FULL_PAUSE
            log.warning("%d connections are open: more are answered 503 or closed", len(self.connections) - 1)
        return len(self.connections) > limit + FULL_ANSWERS

    async def serve_forever(self) -> None:
        """Serve until cancelled, then :meth:`shutdown`."""
        try:
            await self._loop.create_future()
        finally:
            await self.shutdown()

    # -- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop to listen; what is open goes on. Twice does no harm."""
        self.is_closing = True
        if self._poller is not None:
            self._poller.release()
            self._poller = None
        for listener in self._listeners:
            listener.close()
        while self._paths:
            path, was = self._paths.popitem()
            if was is not None and inode(path) == was:  # not another server's by now
                with contextlib.suppress(OSError):
                    os.unlink(path)

    async def wait_closed(self) -> None:
        """Wait until the last connection has ended: for ever, unless :meth:`close` came before.

        Any number of coroutines may wait; cancelling one ends nothing.
        """
        if self.connections:
            if self._empty is None:
                self._empty = self._loop.create_future()
            await asyncio.shield(self._empty)

    async def shutdown(self, timeout: float | None = GRACE) -> None:
        """Stop: close the listeners, let what was accepted go out, close every WebSocket with 1001.

        Who has not ended after ``timeout`` seconds (10; None: wait for ever) is cut; then the tasks of
        handlers are cancelled, and have a second to end. Leaves no task and no timer in the loop.
        Safe to call twice, also at the same time; cancelled, it cuts all connections at once.
        """
        self.close()
        for connection in list(self.connections):
            self._part(connection)
        deadline = None if timeout is None else self._loop.time() + timeout
        try:
            await asyncio.wait_for(self.wait_closed(), timeout)
        except TimeoutError:
            pass
        finally:
            for connection in list(self.connections):
                connection.abort()
        await self.wait_closed()
        tasks = {task for endpoint in self.router.endpoints for task in endpoint.tasks}
        await _end_tasks(tasks, None if deadline is None else max(deadline - self._loop.time(), 0.0))
        while self._started:
            left = None if deadline is None else max(deadline - self._loop.time(), CANCEL_GRACE)
            await self._started.pop().shutdown(left)

    def _part(self, connection: Connection) -> None:
        if connection.ws is not None:
            connection.close(1001, "going away")
        elif connection.phase is not None and not connection.phase.stop():
            connection.abort()

    # -- what connections tell ------------------------------------------------------------------

    def connection_open(self, connection: Connection) -> None:
        """Called by a connection that has been accepted."""
        self.counters.connections += 1
        self.connections[connection] = None
        connection.phase = phase = ServerPhase(connection, self)
        if self.settings.limit_concurrency is not None and self._is_flooded():
            connection.abort()
            return
        if self.settings.limit_connections_per_address is not None:
            peer = connection.peer
            # Behind a trusted proxy the address comes with the first request.
            proxied = self.settings.trusted_proxies and isinstance(peer, tuple) and peer[0] in self.trusted
            if not proxied and not self.addresses.enter(connection, peer):
                phase.limit()

    def callback_context(self) -> Context:
        """Where the callbacks of a connection run that is read past its transport.

        In what the transport has: each its own in asyncio, in uvloop that of the listener.
        """
        if not self._loop_state.reads_into_buffer:
            return copy_context()
        if self._callback_context is None:
            self._callback_context = copy_context()
        return self._callback_context

    def websocket_closed(self, connection: Connection) -> None:
        """Called by a connection whose WebSocket has ended; counts what went through it."""
        counters, outbox, machine = self.counters, connection.outbox, connection.machine
        counters.websockets_closed += 1
        counters.messages_received += connection.received_messages
        counters.bytes_received += connection.received_bytes
        counters.messages_sent += outbox.sent_messages
        counters.messages_dropped += outbox.dropped
        counters.bytes_sent += outbox.sent_bytes
        if connection.evicted:
            counters.evicted += 1
        if self.settings.access_log and logs.access.isEnabledFor(logging.INFO):
            line = logs.websocket_line(
                connection.peer,
                connection.ws.request.path,
                machine.close_code,
                machine.close_reason,
                machine.closed_by_peer,
                self._loop_state.clock() - connection.opened_at,
                (connection.received_messages, connection.received_bytes),
                (outbox.sent_messages, outbox.sent_bytes),
            )
            logs.access.info("%s", line)

    def connection_lost(self, connection: Connection) -> None:
        """Called by a connection whose TCP has ended."""
        self.connections.pop(connection, None)
        if self.addresses.limited:
            self.addresses.leave(connection)
        if not self.connections and self._empty is not None:
            self._empty.set_result(None)
            self._empty = None


async def _end_tasks(tasks: set[asyncio.Task[None]], seconds: float | None) -> None:
    """Wait for handlers whose WebSocket has ended, then cancel them."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return
    _, pending = await asyncio.wait(pending, timeout=seconds)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=CANCEL_GRACE)


def as_routes(app: App) -> list[Route | Static]:
    """Return routes for what a person gave: routes, or one handler for every path."""
    if isinstance(app, (Route, Static)):
        return [app]
    if isinstance(app, (list, tuple)):
        return list(app)
    handler = as_handler(app)
    return [Route("/{path:path}", handler)]


class serve:
    """Serve a handler or routes: ``async with serve(handler, host, port) as server``, or ``await``.

    ``app`` is a :class:`fastws.Handler`, an ``async def handler(ws)`` (either for every path), or a
    list of :class:`fastws.Route`, :class:`fastws.Static` and :class:`fastws.ASGI`. Without ``host`` it
    listens on every interface; port 0 picks a free one (``server.port``). ``sock``, ``unix`` and
    ``reuse_port`` as in ``loop.create_server``; ``ssl`` is a server-side ``ssl.SSLContext``.

    Settings for all routes that say nothing else: ``limits`` and ``timeouts`` (a value, or a mapping
    of the fields to change), ``compression`` (None: off), ``origins``, ``require_origin``,
    ``headers`` of every response, ``access_log``, ``limit_concurrency``,
    ``limit_connections_per_address``, ``limit_handshakes_per_address`` (in a second), and
    ``proxy_headers`` with ``forwarded_allow_ips``.

    Touches neither signals nor the loop's settings. Leaving the block shuts down (10 s at most).
    Raises ``OSError`` when the address cannot be had, ``TypeError`` and ``ValueError`` for settings
    that fit nothing, ``StartupFailed`` when an ASGI application (:class:`fastws.ASGI`) cannot start.
    """

    def __init__(
        self,
        app: App,
        host: str | None = None,
        port: int = 0,
        *,
        ssl: ssl_module.SSLContext | None = None,
        sock: socket.socket | None = None,
        unix: str | os.PathLike[str] | None = None,
        backlog: int = 2048,
        reuse_port: bool | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> None:
        self._app = app
        check_options("serve", settings, SettingsOptions.__annotations__)
        self._settings = settings_from(**settings)
        self._address: dict[str, Any] = {
            "host": host,
            "port": port,
            "ssl": ssl,
            "sock": sock,
            "unix": unix,
            "backlog": backlog,
            "reuse_port": reuse_port,
        }
        self._server: Server | None = None

    async def _start(self) -> Server:
        server = Server(self._app, self._settings)
        try:
            await server.startup()
            await server.listen(**self._address)
        except BaseException:
            await server.shutdown(0)
            raise
        return server

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.shutdown()


class AcceptErrors:
    """Says once in a while that accepting fails; asyncio's own handler would fill the log with it."""

    def __init__(self) -> None:
        self._again = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif loop.time() >= self._again:
            self._again = loop.time() + FULL_PAUSE
            log.warning("connections cannot be accepted: %s", context.get("exception"))


async def run(
    app: App,
    addresses: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    started: Callable[[Server], None] = lambda server: None,
    grace: float | None = GRACE,
) -> int:
    """Serve at ``addresses`` (keyword arguments of :meth:`Server.listen`) until a signal stops it.

    SIGINT and SIGTERM stop cleanly: 0 is returned, and the process can have ended ``grace`` seconds
    after the signal. A second one ends at once with 128 + its number.
    For a program of its own (``fastws serve``): it takes the signals. Raises ``OSError`` when an
    address cannot be had, ``StartupFailed`` when an ASGI application cannot start.
    """
    loop = asyncio.get_running_loop()
    if accepts_in_bulk(loop):
        loop.set_exception_handler(AcceptErrors())
    server = Server(app, settings)
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number)

    try:
        await server.startup()
        for address in addresses:
            await server.listen(**address)
    except BaseException:
        await server.shutdown(0)
        raise
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    keep_blocks()
    trimming = loop.create_task(trim_when_calm())
    started(server)
    stopped_by = signal.Signals(await stop).name
    trimming.cancel()
    log.info("%s: closing %d connections", stopped_by, len(server.connections))
    await server.shutdown(None if grace is None else max(grace - EXIT_TIME, 0.0))
    return 0
