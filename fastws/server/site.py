# cython: annotation_typing=False
"""What a server is to its connections: settings, routes, limits and counters.

A :class:`Site` knows no listener, no signal and no phase of a connection, so that each of them may know it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.config import Settings
from fastws.connection.handlers import Callbacks, HandlerLike, as_handler
from fastws.server.address_limits import AddressLimiter
from fastws.server.application import Application
from fastws.server.forwarded import TrustedProxies
from fastws.server.send_buffer import SendBuffer
from fastws.web.dates import http_date
from fastws.web.routes import Route, Router
from fastws.web.static_files import Static

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.server.shared_page import Row, SharedPage

__all__ = ["MAX_WAITING_FOR_503", "App", "Counters", "Site", "as_routes"]

log = logging.getLogger("fastws.error")

#: What a person may give to be served: one handler for every path, or routes.
App = HandlerLike | Route | Static | Sequence[Route | Static] | Application

#: Connections above ``limit_concurrency`` that stay open until their request is answered 503; the server
#: closes any more as soon as it has accepted them.
MAX_WAITING_FOR_503 = 32

#: Seconds between two warnings that the server is full.
FULL_WARNING_INTERVAL = 10.0


@dataclass(slots=True)
class Counters:
    """What a server has done since it began. Messages and bytes are added when their WebSocket has ended."""

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
        """Return the counters by name."""
        return asdict(self)


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
        "proxied",
        "response_headers",
        "router",
        "send_buffer",
        "settings",
        "takes_everyone",
        "trusted_proxies",
    )

    def __init__(self, app: App, settings: Settings) -> None:
        self.settings = settings
        self.counters = Counters()
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
        # Until a request names its route, a connection takes a body as large as the most generous route does.
        bodies = [endpoint.limits.max_body_size for endpoint in self.router.endpoints]
        self.limits = replace(settings.limits, max_body_size=max(bodies or [settings.limits.max_body_size]))
        #: Fields of every response. All connections share this list; its last field is the date.
        self.response_headers = [field for field in settings.headers if field[0].lower() != b"date"]
        self.response_headers.append((b"Date", b""))
        self._date = 0
        self._next_full_warning = 0.0

    def set_date(self) -> None:
        """Give the next response the time of day (RFC 9110, section 6.6.1)."""
        now = int(time.time())
        if now != self._date:
            self._date = now
            self.response_headers[-1] = (b"Date", http_date(now).encode())

    def is_beyond_limit(self, connection: Connection) -> bool:
        """True for a connection that came when ``limit_concurrency`` others were open, and still are.

        Those others stay within the limit, whoever comes after them.
        """
        if connection not in self.excess:
            return False
        limit = self.settings.limit_concurrency
        if limit is not None and self._count() - len(self.excess) >= limit:
            return True
        self.excess.remove(connection)
        return False

    def must_drop(self, connection: Connection, now: float) -> bool:
        """Take a new connection; True when it is to be closed unheard: enough others wait for their 503.

        ``now`` is the loop's time; the first time that the server is full, and every 10 s from then on, it
        logs a warning.
        """
        limit = self.settings.limit_concurrency
        if limit is None or self._count() - len(self.excess) <= limit:
            return False
        self.excess.add(connection)
        if now >= self._next_full_warning:
            self._next_full_warning = now + FULL_WARNING_INTERVAL
            log.warning("%d connections are open: more are answered 503 or closed", self._count() - 1)
        return len(self.excess) > MAX_WAITING_FOR_503

    def share(self, page: SharedPage, row: Row) -> None:
        """Count the connections of all rows of ``page``, of which ``row`` is ours, for the limit."""
        self._page = page
        self._row = row

    def _count(self) -> int:
        """Return the connections that are open, those of other workers of this server too."""
        if self._page is None or self._row is None:
            return len(self.connections)
        return self._page.connections() - self._row.connections + len(self.connections)

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
