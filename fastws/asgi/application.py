"""An ASGI 3 application as a route of fastws."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastws.asgi.http import Exchange
from fastws.asgi.lifespan import Lifespan
from fastws.asgi.scope import Application
from fastws.asgi.websocket import Session
from fastws.config import Compression, Limits, Timeouts
from fastws.loop.inline_task import create_task
from fastws.protocol.http.messages import Request
from fastws.web.routes import UNSET, Route, Unset

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.server.http_phase import ServerPhase
    from fastws.web.routes import Endpoint

__all__ = ["ASGI"]

LIFESPANS = ("auto", "on", "off")


class ASGI(Route):
    """An ASGI 3 application (FastAPI, Starlette, ...) for :func:`fastws.serve`, for every path.

    ``serve(ASGI(app))`` serves it alone, ``serve([Route("/ws", handler), ASGI(app)])`` what the
    routes before it do not. ``root_path`` is where a proxy has mounted it. ``lifespan``: ``auto`` (an
    application that raises when asked knows none), ``on`` or ``off``; a server starts the application
    before it listens, and ends it last.

    The other settings are those of a :class:`Route`. ``timeouts.handshake`` bounds the time until
    ``websocket.accept`` (503 beyond it). ``max_body_size`` is bytes of a request's body; None is no
    limit, for it comes in pieces, and waits in the socket while the application takes none. One server
    at a time may serve it. Raises ``TypeError`` and ``ValueError`` for what fits nothing.
    """

    def __init__(
        self,
        app: Application,
        *,
        root_path: str = "",
        lifespan: str = "auto",
        max_body_size: int | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        timeouts: Timeouts | Mapping[str, Any] | None = None,
        compression: Compression | Unset | None = UNSET,
        origins: Iterable[str] | None = None,
        require_origin: bool | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        if not callable(app):
            raise TypeError(f"an ASGI application is a callable, not {app!r}")
        if lifespan not in LIFESPANS:
            raise ValueError(f"lifespan is one of {', '.join(LIFESPANS)}, not {lifespan!r}")
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"a root_path begins with '/': {root_path!r}")
        super().__init__(
            "/{path:path}",
            http=app,  # type: ignore[arg-type]
            limits=_with_body(limits, sys.maxsize if max_body_size is None else max_body_size),
            timeouts=timeouts,
            compression=compression,
            origins=origins,
            require_origin=require_origin,
            headers=headers,
        )
        self.application = self
        self.app = app
        self.root_path = root_path.rstrip("/")
        #: What the application's lifespan has filled; each scope gets a copy.
        self.state: dict[str, Any] = {}
        #: Its tasks that run now.
        self.tasks: set[asyncio.Task[None]] = set()
        self.log = logging.getLogger("fastws.error")
        self._lifespan_mode = lifespan
        self._lifespan: Lifespan | None = None

    async def startup(self) -> None:
        """Run the application's startup. Raises ``StartupFailed``; ``RuntimeError`` when it runs already."""
        if self._lifespan is not None:
            raise RuntimeError("this application is served already; make another ASGI(app)")
        self.state = {}
        self._lifespan = lifespan = Lifespan(self.app, self._lifespan_mode, self.state)
        try:
            await lifespan.startup()
        except BaseException:
            self._lifespan = None
            raise

    async def shutdown(self, timeout: float | None) -> None:
        """Run its shutdown, for ``timeout`` seconds at most."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown(timeout)

    def begin(
        self, connection: Connection, phase: ServerPhase, request: Request, endpoint: Endpoint
    ) -> Session | Exchange:
        """Start the application on a request; return what has the connection meanwhile."""
        exchange: Session | Exchange
        if request.upgrade:
            exchange = Session(self, connection, phase, request, endpoint)
        else:
            exchange = Exchange(self, connection, phase, request, endpoint)
        task = create_task(exchange.run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return exchange

    # -- for a server that has its own ways -----------------------------------------------------

    def more_headers(self) -> list[tuple[bytes, bytes]]:
        """Fields of every answer beside the server's."""
        return []

    def accepted(self, request: Request) -> None:
        """A WebSocket is open."""

    def refused(self, request: Request, status: int) -> None:
        """A request to upgrade was answered otherwise."""


def _with_body(limits: Limits | Mapping[str, Any] | None, size: int) -> Limits | Mapping[str, Any]:
    if isinstance(limits, Limits):
        return replace(limits, max_body_size=size)
    return {**(limits or {}), "max_body_size": size}
