"""The server: the connections that its listeners accept, and how both end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Sequence
from contextvars import Context, copy_context
from importlib import import_module
from typing import Any, Self

from fastws.config import NEVER, Settings
from fastws.connection.connection import Connection
from fastws.connection.lifetime import PONG_GRACE_SECONDS
from fastws.loop.state import loop_state_of
from fastws.protocol.websocket.machine import Machine
from fastws.pubsub.kept import live_on
from fastws.server.acceptor import Acceptor
from fastws.server.access_log import log_websocket
from fastws.server.counting import Counting
from fastws.server.hooks import Hooks, end_tasks
from fastws.server.http_phase import ServerPhase
from fastws.server.listeners import Listeners
from fastws.server.memory_budget import MemoryBudget
from fastws.server.send_buffer import FRESH
from fastws.server.shared_page import Membership
from fastws.server.site import App, Site

__all__ = ["APPLICATION_FAILED", "DEFAULT_GRACE", "Server"]

#: Seconds that a stop gives to clients before those that do not read are cut.
DEFAULT_GRACE = 10.0

#: The exit status of a process whose ASGI application cannot start, or has failed while it was served.
APPLICATION_FAILED = 3


class Server(Counting):
    """Listens and serves; made by :func:`serve`.

    ``settings`` are the defaults of all routes, ``counters`` what the server has done so far in this process
    (a snapshot by name: ``counters.as_dict()``; those of all workers: :meth:`totals`), ``connections`` those
    that are open now.

    Methods are called on the server's event loop, from any number of its tasks; no other thread may call
    them. As a context manager the server shuts down (10 s at most) when the block is left.
    """

    settings: Settings
    connections: dict[Connection, None]
    #: For its connections: seconds more for a pong that is overdue.
    pong_grace_seconds = PONG_GRACE_SECONDS

    def __init__(self, app: App, settings: Settings, *, leads: bool = True) -> None:
        self._site = site = Site(app, settings)
        self.settings = settings
        self.connections = site.connections
        #: What a connection may make us hold until its route is known.
        self.limits = site.limits
        self._loop = asyncio.get_running_loop()
        self._loop_state = loop_state_of(self._loop)
        self._listeners = Listeners(self._loop, self._loop_state)
        self._addresses = site.addresses
        self._endpoints = site.router.endpoints
        self._budget: MemoryBudget | None = None
        if settings.memory_budget is not None:
            self._budget = MemoryBudget(settings.memory_budget, self.connections)
        self._hooks = Hooks(self, app, self._endpoints, leads=leads)
        #: Done when a lifespan or a background task has failed that has to end the server.
        self.application_failed = self._hooks.failed
        self._callback_context: Context | None = None
        self._all_lost: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    # -- listening ------------------------------------------------------------------------------

    def endpoint_of(self, request: Any) -> Any:
        """Return what answers a request, with its settings."""
        return self._site.router.match(request)

    async def startup(self) -> None:
        """Run the ``on_startup`` hooks, the startup of ASGI applications, and begin the background tasks.

        Raises:
            StartupFailed: one of them cannot start.
        """
        live_on(asyncio.get_running_loop())
        await self._hooks.startup()
        if self._budget is not None:
            self._budget.begin()

    @property
    def is_leader(self) -> bool:
        """Whether the ``once`` tasks of a :class:`fastws.Application` run here; a lone process leads."""
        return self._hooks.leads

    def lead(self, leads: bool) -> None:  # noqa: FBT001
        """Begin the ``once`` tasks of a :class:`fastws.Application`, or cancel them; for who runs workers."""
        self._hooks.lead(leads)

    async def resign(self) -> None:
        """Cancel the ``once`` tasks as ``lead(False)`` does, and wait until they have ended."""
        await self._hooks.resign()

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
        acceptor: Acceptor | None = None,
        routes: Sequence[str] | None = None,
    ) -> None:
        """Listen at one more address: ``host`` and ``port``, or ``sock``, or ``unix``.

        Args:
            host, port, sock, unix, ssl, backlog, reuse_port: as for :func:`serve`.
            acceptor: accepts there in place of the loop; what ``fastws serve`` uses for workers.
            routes: paths of those that are served there, as the routes have them. Default None: all.

        Raises:
            OSError: the address cannot be had.
            ValueError: there is no route with one of the paths.
        """
        import_module("fastws.protocol.http.server")  # now, with h11: the first request need not wait for it
        self._site.set_date()
        await self._listeners.listen(
            self._accept if routes is None else self._site.only(routes, self._accept),
            host,
            port,
            sock=sock,
            unix=unix,
            ssl=ssl,
            ssl_handshake_timeout=self.settings.timeouts.tls_handshake or NEVER,
            backlog=backlog,
            reuse_port=reuse_port,
            acceptor=acceptor,
        )

    def share(self, membership: Membership) -> None:
        """Be one of several workers from now on, in counters and limits; see :class:`Membership`."""
        self.page = membership.page
        self._site.share(membership)
        if membership.holdings is not None and self._addresses.is_limiting:
            self._addresses.share(membership.holdings, self._loop.time)

    def _accept(self, client: Any = None) -> Any:
        """Make the protocol of a connection; ``client``: whose it is, where a proxy has said so before."""
        machine = Machine.server(self.limits, self._site.response_headers)
        connection = Connection(self._loop_state, machine, self, self.settings.timeouts)
        connection.forwarded_for = client
        return connection

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets listened on, as ``asyncio.Server.sockets``."""
        return self._listeners.sockets

    @property
    def port(self) -> int:
        """The port of the first listener.

        Raises:
            IndexError: no listener has a port.
        """
        for sock in self.sockets:
            if isinstance(name := sock.getsockname(), tuple):
                port: int = name[1]
                return port
        raise IndexError("no listener of this server has a port")

    def is_serving(self) -> bool:
        """True from the first :meth:`listen` to :meth:`stop_listening` or :meth:`close`."""
        return bool(self._listeners) and not self._site.is_leaving

    def is_full(self) -> bool:
        """Return whether more than ``limit_concurrency`` are connected, to all workers; False without one."""
        limit = self.settings.limit_concurrency
        return limit is not None and self._site.count() > limit

    async def serve_forever(self) -> None:
        """Serve until this coroutine is cancelled, then :meth:`shutdown`. One coroutine at a time.

        Raises:
            SystemExit: the lifespan of an ASGI application, or a background task, has failed; the server
                has shut down. The status is 3. ``ASGI(app, lifespan_failure="continue")`` prevents that.
        """
        try:
            await self.application_failed
        finally:
            await self.shutdown()
        raise SystemExit(APPLICATION_FAILED)

    # -- the end --------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """True from :meth:`close` on."""
        return self._site.is_closing

    def close(self) -> None:
        """Stop to listen. Open connections go on; new WebSockets are refused with 503. Twice does no harm."""
        self._site.is_closing = True
        self.stop_listening()

    def stop_listening(self) -> None:
        """Accept no more connections. Those that were accepted may open WebSockets, or have one response."""
        self._site.is_leaving = True
        self._listeners.close()

    def is_opening(self) -> bool:
        """Whether a connection that was accepted may still open a WebSocket."""
        return self._site.is_starting() or any(
            each.ws is None and each.phase is not None and each.phase.is_opening()
            for each in self.connections
        )

    async def wait_closed(self) -> None:
        """Wait until the last connection has ended: without :meth:`close` that may be never.

        Any number of coroutines may wait. Cancelling one of them ends no connection and no other wait.
        """
        if self.connections:
            if self._all_lost is None:
                self._all_lost = self._loop.create_future()
            await asyncio.shield(self._all_lost)

    async def shutdown(self, timeout: float | None = DEFAULT_GRACE) -> None:
        """Stop: close the listeners, and every WebSocket with 1001 behind what was accepted for it.

        Requests under way are answered. After ``timeout`` what is still open is cut; then the tasks of
        handlers that still run are cancelled, and have a second to end. No task and no timer is left.

        Safe to call twice, also at the same time. When it is cancelled, it cuts all connections at once.

        Args:
            timeout: seconds (10); None: wait until the last client has ended.
        """
        self.close()
        if self._budget is not None:
            self._budget.end()
        self._hooks.cancel()
        for connection in list(self.connections):
            self._stop(connection)
        deadline = None if timeout is None else self._loop.time() + timeout
        try:
            await asyncio.wait_for(self.wait_closed(), timeout)
        except TimeoutError:
            pass
        finally:
            for connection in list(self.connections):
                connection.abort()
        await self.wait_closed()
        tasks = self._site.tasks.union(*(endpoint.tasks for endpoint in self._endpoints))
        await end_tasks(tasks, None if deadline is None else max(deadline - self._loop.time(), 0.0))
        await self._hooks.shutdown(deadline)

    def _stop(self, connection: Connection) -> None:
        """End a connection behind what is owed to its client."""
        if connection.ws is not None:
            connection.close(1001, "going away")
        elif connection.phase is not None and not connection.phase.stop():
            connection.abort()

    # -- what connections tell ------------------------------------------------------------------

    def connection_open(self, connection: Connection) -> None:
        """Called by a connection that has been accepted."""
        site = self._site
        site.connection_open(connection)
        if connection.forwarded_for is not None or connection.phase is not None:
            site.came_by(connection)
        connection.phase = phase = ServerPhase(connection, site)
        if site.send_buffer is not None:
            site.send_buffer.limit(connection.transport)
        if site.takes_everyone:
            return
        if self.settings.limit_concurrency is not None and site.must_drop(connection, self._loop.time()):
            connection.abort()
        elif self.settings.limit_connections_per_address is not None:
            peer = connection.peer
            # Behind a trusted proxy the address comes with the first request.
            proxied = isinstance(peer, tuple) and peer[0] in site.trusted_proxies
            if not proxied and not self._addresses.enter(connection, peer):
                phase.limit()

    def callback_context(self) -> Context:
        """Return the context for the callbacks of a connection that the poller reads.

        It is the one that the transport would use: each its own in asyncio, the listener's in uvloop.
        """
        if not self._loop_state.reads_into_buffer:
            return copy_context()
        if self._callback_context is None:
            self._callback_context = copy_context()
        return self._callback_context

    def keep_fresh(self, connection: Connection) -> None:
        """Called for a connection whose peer is to have new values, not those that the kernel held."""
        if self.settings.notsent_lowat is None:
            FRESH.limit(connection.transport)

    def pong_missed(self, connection: Connection) -> None:
        """Called by a connection whose peer has not answered a ping."""
        connection.cut_silent_peer()

    def websocket_closed(self, connection: Connection) -> None:
        """Called by a connection whose WebSocket has ended."""
        self._site.websocket_closed(connection)
        if self._site.is_access_logged():
            log_websocket(self._site, connection)

    def connection_lost(self, connection: Connection) -> None:
        """Called by a connection whose TCP has ended."""
        self._site.connection_lost(connection)
        if not self.connections and self._all_lost is not None:
            self._all_lost.set_result(None)
            self._all_lost = None
