"""Which path leads where, and with which settings."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING, Any

from fastws.config import (
    SERVER_LIMITS,
    SERVER_TIMEOUTS,
    UNSET,
    Compression,
    Limits,
    Settings,
    Timeouts,
    Unset,
    check_arguments,
    checked_compression,
)
from fastws.connection.counters import UNCOUNTED, Counters
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket import handshake
from fastws.web.origins import parse_origins
from fastws.web.static_files import Static

if TYPE_CHECKING:
    from fastws.connection.handlers import HandlerLike

__all__ = ["Authorize", "Endpoint", "Route", "Router"]

#: ``def`` or ``async def``; what it returns answers instead of 101, None lets the handshake go on.
Authorize = Callable[[Request], Response | Awaitable[Response | None] | None]
#: A plain HTTP endpoint, ``def`` or ``async def``.
Page = Callable[[Request], Response | Awaitable[Response]]

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")


def names(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return the names given. Raises ``TypeError`` for a ``str``, whose letters would be taken for names."""
    if isinstance(given, str):
        raise TypeError(f"{what}= is a list of names: [{given!r}]")
    return tuple(given)


class Route:
    """A path with a WebSocket handler, a plain HTTP endpoint, or both.

    What a route says wins over the settings of the server. One route may be served by several servers.

    Args:
        path: begins with a slash. ``/room/{name}`` matches one segment, ``/files/{name:path}`` all that
            follows, slashes too and even nothing; ``request.path_params`` has both, percent-decoded.
        handler: of WebSockets, a :class:`fastws.Handler` or an ``async def handler(ws)``; None: none.
        http: of plain requests: a ``def`` or ``async def`` from :class:`fastws.Request` to
            :class:`fastws.Response`; None: it takes none. While a ``def`` runs, the whole loop waits.
        methods: those that ``http`` takes (GET). GET brings HEAD with it.
        limits: a mapping of the fields to change, ``{"max_message_size": 512}``, or a whole :class:`Limits`.
        timeouts: likewise, in seconds.
        compression: None switches permessage-deflate off here; left out, it is the server's.
        origins: in place of the server's.
        require_origin: in place of the server's.
        subprotocols: what to agree on, the most preferred first (none, or that of a :class:`fastws.Feed`).
        headers: fields of the 101, as pairs or a mapping, before the server's.
        authorize: a ``def`` or ``async def`` that sees the request to upgrade before the 101. It returns None
            to let it in, or the :class:`fastws.Response` that refuses it. After ``timeouts.handshake`` it is
            cancelled and the client gets 503; it is cancelled too when the client goes. It does not guard
            ``http``.

    Raises:
        TypeError: neither ``handler`` nor ``http`` is given, or an argument is of the wrong type.
        ValueError: a value cannot be. Serving the route raises it for limits and timeouts that count before
            there is a route, such as those of a request head.
    """

    #: Answers every request to this route itself, WebSocket or not (``fastws.ASGI``).
    application: Any = None

    def __init__(
        self,
        path: str,
        handler: HandlerLike | None = None,
        *,
        http: Page | None = None,
        methods: Sequence[str] = ("GET",),
        limits: Limits | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        compression: Compression | Unset | None = UNSET,
        origins: Iterable[str] | None = None,
        require_origin: bool | None = None,
        subprotocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        authorize: Authorize | None = None,
    ) -> None:
        if not path.startswith("/"):
            raise ValueError(f"the path of a route begins with '/': {path!r}")
        if handler is None and http is None:
            raise TypeError(f"route {path!r} has neither a WebSocket handler nor http=")
        self.path = path
        self.handler = handler
        self.http = http
        methods = names("methods", methods)
        self.methods = tuple(dict.fromkeys([*methods, "HEAD"] if "GET" in methods else methods))
        self.limits = limits
        self.timeouts = timeouts
        self.compression = compression if isinstance(compression, Unset) else checked_compression(compression)
        self.origins = None if origins is None else parse_origins(origins)
        self.require_origin = require_origin
        self.subprotocols = names("subprotocols", subprotocols)
        self.headers = Response(headers=headers).raw_headers
        self.authorize = authorize


@dataclass(slots=True, eq=False)
class Endpoint:
    """A route with all its settings decided. Its connections share it."""

    path: str
    callbacks: Any
    http: Page | None
    methods: tuple[str, ...]
    limits: Limits
    timeouts: Timeouts
    compression: Compression | None
    origins: frozenset[str]
    require_origin: bool
    subprotocols: tuple[str, ...]
    headers: tuple[tuple[bytes, bytes], ...]
    authorize: Authorize | None
    static: Static | None = None
    application: Any = None
    #: Where its WebSockets count: those of the server, or where somebody measures, its own.
    counters: Counters = UNCOUNTED

    @property
    def tasks(self) -> set[Any]:
        """The tasks of the handler, or of the application, that run now."""
        owner = self.application or self.callbacks
        return owner.tasks if owner is not None else set()


class Router:
    """Routes by exact path, then by pattern in the order given, then static folders, longest first."""

    def __init__(self, routes: Iterable[Any], settings: Settings, callbacks: Callable[[Any], Any]) -> None:
        self._exact: dict[str, Endpoint] = {}
        self._patterns: list[tuple[re.Pattern[str], Endpoint]] = []
        #: What those are the patterns of, in the same order.
        self._pattern_paths: list[str] = []
        self._folders: list[tuple[str, Endpoint]] = []
        for route in routes:
            if isinstance(route, Static):
                self._folders.append((route.prefix, _folder(route, settings)))
            elif isinstance(route, Route):
                self._add(route, _endpoint(route, settings, callbacks))
            else:
                raise TypeError(f"a route is a fastws.Route or a fastws.Static, not {route!r}")
        self._folders.sort(key=lambda folder: -len(folder[0]))

    def _add(self, route: Route, endpoint: Endpoint) -> None:
        if "{" not in route.path:
            if route.path in self._exact:
                raise ValueError(f"two routes have the path {route.path!r}")
            self._exact[route.path] = endpoint
            return
        text, end = "", 0
        for parameter in _PARAMETER.finditer(route.path):
            matches = "(?s:.*)" if parameter[2] else "[^/]+"
            text += re.escape(route.path[end : parameter.start()]) + f"(?P<{parameter[1]}>{matches})"
            end = parameter.end()
        try:
            self._patterns.append((re.compile(text + re.escape(route.path[end:])), endpoint))
        except re.error as exc:
            raise ValueError(f"the path {route.path!r} is no pattern: {exc}") from None
        self._pattern_paths.append(route.path)

    @property
    def paths(self) -> list[str]:
        """The paths of all routes, as they have them; of a folder its prefix."""
        return [*self._exact, *self._pattern_paths, *(prefix for prefix, _ in self._folders)]

    def only(self, paths: Iterable[str]) -> Router:
        """Return a router of those routes alone that have one of these paths.

        Raises ``ValueError`` for a path that none of them has.
        """
        wanted = set(names("routes", paths))
        for path in wanted.difference(self.paths):
            raise ValueError(f"there is no route {path!r}")
        some = copy(self)
        some._exact = {path: endpoint for path, endpoint in self._exact.items() if path in wanted}
        kept = [path in wanted for path in self._pattern_paths]
        some._patterns = list(compress(self._patterns, kept))
        some._pattern_paths = list(compress(self._pattern_paths, kept))
        some._folders = [folder for folder in self._folders if folder[0] in wanted]
        return some

    @property
    def endpoints(self) -> list[Endpoint]:
        patterns = [endpoint for _, endpoint in self._patterns]
        return [*self._exact.values(), *patterns, *(endpoint for _, endpoint in self._folders)]

    def match(self, request: Request) -> Endpoint | None:
        """Return the endpoint for the request's path and set its path parameters."""
        path = request.path
        found = self._exact.get(path)
        if found is not None:
            return found
        for pattern, endpoint in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                request.path_params = match.groupdict()
                return endpoint
        for prefix, endpoint in self._folders:
            # The folder itself without its slash, too: it is redirected to the one with it.
            if path.startswith(prefix) or path == prefix[:-1]:
                request.path_params = {"path": path[len(prefix) :]}
                return endpoint
        return None


def _folder(static: Static, settings: Settings) -> Endpoint:
    def page(request: Request) -> Response:
        if request.path == static.prefix[:-1]:
            return static.redirect(request, request.path.rpartition("/")[2])
        return static.respond(request, request.path_params["path"])

    route = Route(static.prefix, http=page)
    return replace(_endpoint(route, settings, lambda given: given), static=static)


def _endpoint(route: Route, settings: Settings, callbacks: Callable[[Any], Any]) -> Endpoint:
    if route.http is not None and not callable(route.http):
        raise TypeError(f"http= of route {route.path!r} is not callable")
    if route.authorize is not None:
        check_arguments(route.authorize, f"authorize= of route {route.path!r}", ("request",))
    compression = settings.compression if isinstance(route.compression, Unset) else route.compression
    if getattr(route.handler, "takes_parts", False):
        # A part of a compressed message cannot be decompressed alone.
        compression = None
    headers = (*route.headers, *_without(settings.headers, route.headers))
    # Checked now, not when the first client shakes hands.
    handshake.check_extra_fields(headers)
    return Endpoint(
        path=route.path,
        callbacks=None if route.handler is None else callbacks(route.handler),
        http=route.http,
        methods=route.methods if route.http is not None else ("GET",),
        limits=_of_route(route, "limits", _of_handler(route, settings.limits), SERVER_LIMITS),
        timeouts=_of_route(route, "timeouts", settings.timeouts, SERVER_TIMEOUTS),
        compression=compression,
        origins=settings.origins if route.origins is None else route.origins,
        require_origin=settings.require_origin if route.require_origin is None else route.require_origin,
        subprotocols=route.subprotocols or getattr(route.handler, "subprotocols", ()),
        headers=headers,
        authorize=route.authorize,
        application=route.application,
    )


def _of_handler(route: Route, base: Limits) -> Limits:
    """Return the server's limits with what the handler needs (:class:`fastws.yjs.Documents`)."""
    needed: Limits = changed(base, getattr(route.handler, "route_limits", None))
    return needed


def _of_route(route: Route, name: str, base: Any, server_only: tuple[str, ...]) -> Any:
    """Return the limits or timeouts of a route. Raises ``ValueError`` for one that only a server can have."""
    found = changed(base, getattr(route, name))
    default = type(base)()
    for field in server_only:
        # A whole value that does not name a field has its default there, whatever the server's is.
        if getattr(found, field) not in (getattr(base, field), getattr(default, field)):
            raise ValueError(f"{field} of route {route.path!r} counts before there is one: set the server's")
    return found


def changed(base: Any, change: Any) -> Any:
    """Return ``base`` with the fields of a mapping changed, or ``change`` if that is a whole value."""
    if change is None:
        return base
    if isinstance(change, type(base)):
        return change
    kind = type(base).__name__
    if not isinstance(change, Mapping):
        raise TypeError(f"{kind.lower()}= is a fastws.{kind} or a mapping of its fields, not {change!r}")
    known = type(base).__slots__
    for name in change:
        if name not in known:
            raise TypeError(f"{kind.lower()}= has no {name!r}; it has {', '.join(known)}")
    return replace(base, **change)


def _without(
    headers: Iterable[tuple[bytes, bytes]], given: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in given}
    return [header for header in headers if header[0].lower() not in names]
