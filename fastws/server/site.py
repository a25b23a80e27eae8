# cython: annotation_typing=False
"""What a server is to its connections: settings, routes, limits and counters.

A :class:`Site` knows no listener, no signal and no phase of a connection, so that each of them may know it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.config import Settings
from fastws.connection import counters as counting
from fastws.connection.handlers import Callbacks, HandlerLike, as_handler
from fastws.server.address_limits import AddressLimiter
from fastws.server.application import Application
from fastws.server.forwarded import TrustedProxies
from fastws.server.log_rate_limit import LogRateLimit
from fastws.server.send_buffer import SendBuffer
from fastws.web.dates import http_date
from fastws.web.routes import Route, Router
from fastws.web.static_files import Static

if TYPE_CHECKING:
    from fastws.connection._counters import Counters
    from fastws.connection.connection import Connection
    from fastws.meters.meters import Meters
    from fastws.server.shared_page import Membership, Row, SharedPage

__all__ = ["MAX_WAITING_FOR_503", "App", "Site", "as_routes"]

log = logging.getLogger("fastws.error")

#: What a person may give to be served: one handler for every path, or routes.
App = HandlerLike | Route | Static | Sequence[Route | Static] | Application

#: Connections above ``limit_concurrency`` that stay open until their request is answered 503; the server
#: closes any more as soon as it has accepted them.
MAX_WAITING_FOR_503 = 32

#: Most lines about refused origins in a period of seconds.
ORIGIN_LINES, ORIGIN_SECONDS = 10, 60.0

#: Seconds between two warnings that the server is full.
FULL_WARNING_INTERVAL = 10.0


class Site:
    """What all connections of one server share.

    Raises ``TypeError`` and ``ValueError`` for routes and settings that cannot be served.
    """

    __slots__ = (
        "_date",
        "_next_full_warning",
        "_page",
        "_row",
        "addresses",
        "connections",
        "counters",
        "excess",
        "is_closing",
        "is_leaving",
        "limits",
        "meters",
        "proxied",
        "refused_origins",
        "response_headers",
        "router",
        "routers",
        "send_buffer",
        "settings",
        "takes_everyone",
        "tasks",
        "traces",
        "trusted_proxies",
    )

    def __init__(self, app: App, settings: Settings) -> None:
        self.settings = settings
        self.counters = counting.Counters()
        #: The open connections, in the order in which they came.
        self.connections: dict[Connection, None] = {}
        #: Those of them that are beyond ``limit_concurrency``.
        self.excess: set[Connection] = set()
        #: Whose connection each is that began with a PROXY header.
        self.proxied: dict[Connection, Any] = {}
        self._page: SharedPage | None = None
        self._row: Row | None = None
        #: True as soon as no WebSocket may open.
        self.is_closing = False
        #: True as soon as the server has stopped to listen: each response is the last of its connection.
        self.is_leaving = False
        self.trusted_proxies = TrustedProxies(settings.trusted_proxies)
        self.addresses = AddressLimiter(
            settings.limit_connections_per_address, settings.limit_handshakes_per_address
        )
        #: The tasks of responses that are async iterators.
        self.tasks: set[asyncio.Task[None]] = set()
        #: None where the kernel decides.
        self.send_buffer: SendBuffer | None = None
        if settings.socket_send_buffer is not None or settings.notsent_lowat is not None:
            self.send_buffer = SendBuffer(settings.socket_send_buffer, settings.notsent_lowat)
        #: No setting asks who a client is, so that nothing has to be looked up for each connection.
        self.takes_everyone = not (
            settings.trusted_proxies
            or settings.allowed_hosts
            or settings.limit_concurrency is not None
            or self.addresses.is_limiting
        )
        self.router = Router(as_routes(app), settings, Callbacks)
        #: Of connections to a listener that has routes of its own.
        self.routers: dict[Connection, Router] = {}
        for endpoint in self.router.endpoints:
            endpoint.counters = self.counters
        #: Writes that an origin is refused: a page of somebody else may have many visitors.
        self.refused_origins = LogRateLimit(ORIGIN_LINES, ORIGIN_SECONDS, logging.INFO)
        #: None: nobody measures (:mod:`fastws.meters`).
        self.meters: Meters | None = None
        #: Who is told of each handshake (:mod:`fastws.observe.otel`); None: nobody.
        self.traces: Any = None
        # Until a request names its route, a connection takes a body as large as the most generous route does.
        bodies = [endpoint.limits.max_body_size for endpoint in self.router.endpoints]
        self.limits = replace(settings.limits, max_body_size=max(bodies or [settings.limits.max_body_size]))
        #: Fields of every response. All connections share this list; its last field is the date.
        self.response_headers = [field for field in settings.headers if field[0].lower() != b"date"]
        self.response_headers.append((b"Date", b""))
        self._date = 0
        self._next_full_warning = 0.0

    def router_of(self, connection: Connection) -> Router:
        """Return who finds the routes of a connection: those of its listener."""
        return self.router if not self.routers else self.routers.get(connection, self.router)

    def only(self, paths: Sequence[str], accept: Callable[[Any], Connection]) -> Callable[..., Connection]:
        """Return what makes connections as ``accept`` does, for a listener that serves only these routes.

        Raises ``ValueError`` for a path that no route has.
        """
        router = self.router.only(paths)

        def accept_some(client: Any = None) -> Connection:
            connection = accept(client)
            connection.phase = router  # it has no other phase yet, and may end before it is open
            return connection

        return accept_some

    def set_date(self) -> None:
        """Give the next response the time of day (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._date:
            self._date = now
            self.response_headers[-1] = (b"Date", http_date(now).encode())

    def is_beyond_limit(self, connection: Connection) -> bool:
        """True for a connection that came when ``limit_concurrency`` others were open, and still are.

        Those others stay within the limit, whoever comes after them. Other workers may take the last place at
        the same time: each first counts its own connection, then all. So two may be refused, and none is too
        many.
        """
        if connection not in self.excess:
            return False
        self.excess.remove(connection)
        self._write_row()
        limit = self.settings.limit_concurrency
        if limit is None or self._within_limit() <= limit:
            return False
        self.excess.add(connection)
        self._write_row()
        return True

    def must_drop(self, connection: Connection, now: float) -> bool:
        """Take a new connection; True when it is to be closed unheard: enough others wait for their 503.

        ``now`` is the loop's time; the first time that the server is full, and every 10 s from then on, it
        logs a warning.
        """
        limit = self.settings.limit_concurrency
        if limit is None or self._within_limit() <= limit:
            return False
        self.excess.add(connection)
        self._write_row()
        if now >= self._next_full_warning:
            self._next_full_warning = now + FULL_WARNING_INTERVAL
            log.warning("%d connections are open: more are answered 503 or closed", self.count() - 1)
        return len(self.excess) > MAX_WAITING_FOR_503

    def connection_open(self, connection: Connection) -> None:
        """Count a connection that has been accepted."""
        self.counters.row.connections += 1
        self.connections[connection] = None
        self._write_row()

    def came_by(self, connection: Connection) -> None:
        """Note what a new connection has from its listener: whose it is, and its routes."""
        if connection.forwarded_for is not None:
            self.proxied[connection] = connection.forwarded_for
        if connection.phase is not None:
            self.routers[connection] = connection.phase

    def connection_lost(self, connection: Connection) -> None:
        """Forget a connection whose TCP has ended."""
        self.connections.pop(connection, None)
        if self.routers:
            self.routers.pop(connection, None)
        if self.proxied:
            self.proxied.pop(connection, None)
        if not self.takes_everyone:
            self.excess.discard(connection)
            self.addresses.leave(connection)
        self._write_row()

    def websocket_closed(self, connection: Connection) -> None:
        """Count a WebSocket that has ended."""
        outbox = connection.outbox
        counters = outbox.counters
        counters.row.websockets_closed += 1
        if connection.evicted:
            counters.row.evicted += 1
        if self.meters is not None:
            machine = connection.machine
            if machine.closed_by_peer:
                counters.peer_closed(machine.close_code)
            elif not counters.server_closed(machine.close_code):
                self.meters.server_closed(counters, machine.close_code)

    def measure(self, meters: Meters) -> None:
        """Count each route's WebSockets for itself from now on, and what else ``meters`` asks for."""
        self.meters = meters
        meters.count_closes(self.counters, "")
        for endpoint in self.router.endpoints:
            if endpoint.callbacks is None and endpoint.application is None:
                continue  # no WebSocket is there
            endpoint.counters = meters.route_counters(endpoint.path, self.counters)

    def counted(self) -> Counters:
        """Return what this server has counted, over all its routes."""
        if self.meters is None:
            return self.counters
        routes = dict.fromkeys(endpoint.counters for endpoint in self.router.endpoints)
        routes.pop(self.counters, None)
        summed: Any = counting.SummedCounters([self.counters, *routes])
        found: Counters = summed
        return found

    def share(self, membership: Membership) -> None:
        """Write our connections and counters to our row; all rows of the page may count for the limit."""
        if membership.is_limit_for_all:
            self._page = membership.page
        self._row = membership.row
        self._write_row()
        self.counters.share(membership.row.counters)

    def count(self) -> int:
        """Return the connections that are open: those of all workers where the limit is for all."""
        return len(self.connections) if self._page is None else self._page.connections()

    def _within_limit(self) -> int:
        """Return those of them that are not beyond ``limit_concurrency``."""
        if self._page is None:
            return len(self.connections) - len(self.excess)
        return self._page.connections_within_limit()

    def is_starting(self) -> bool:
        """Whether a connection that was accepted has not come to us yet, but is in its TLS handshake."""
        return self._row is not None and self._row.starting > 0

    def _write_row(self) -> None:
        if self._row is not None:
            self._row.connections = len(self.connections)
            self._row.excess = len(self.excess)

    def is_access_logged(self) -> bool:
        """True when somebody reads the lines of the access log."""
        return self.settings.access_log and logs.access.isEnabledFor(logging.INFO)


def as_routes(app: App) -> list[Route | Static]:
    """Return the routes of an application: those it is made of, or one handler for every path.

    Raises ``TypeError`` for what is neither.
    """
    if isinstance(app, Application):
        return as_routes(app.routes)
    if isinstance(app, (Route, Static)):
        return [app]
    if isinstance(app, (list, tuple)):
        return list(app)
    handler = as_handler(app)
    return [Route("/{path:path}", handler)]
