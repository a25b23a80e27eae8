"""An ASGI 3 application as a route of fastws."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastws.asgi.http import Exchange
from fastws.asgi.lifespan import Lifespan
from fastws.asgi.mount import Mount
from fastws.asgi.scope import Application
from fastws.asgi.websocket import Session
from fastws.config import UNSET, Compression, Limits, Timeouts, Unset
from fastws.logs import request_var
from fastws.loop.inline_task import create_task
from fastws.protocol.http.messages import Request
from fastws.web.routes import Route

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.server.http_phase import ServerPhase
    from fastws.web.routes import Endpoint

__all__ = ["ASGI"]

LIFESPANS = ("auto", "on", "off")
LIFESPAN_FAILURES = ("stop", "continue")


class ASGI(Route):
    """An ASGI 3 application (FastAPI, Starlette, ...) as a route that takes every path.

    ``serve(ASGI(app))`` serves the application alone. ``serve([Route("/ws", handler), ASGI(app)])`` gives
    it what the routes before it do not take. The server runs the application's startup before it listens,
    and its shutdown last. One server at a time may serve an ``ASGI``; make a second one for a second server.

    Args:
        app: The application: a coroutine function of ``scope``, ``receive`` and ``send``.
        root_path: The path under which a proxy has mounted the application. It begins with ``/``.
            Default: none.
        lifespan: ``"auto"`` (default): an application that raises at its startup has no lifespan, and is
            served without one. ``"on"``: that is a failure. ``"off"``: the application is not asked.
        lifespan_failure: What follows when the application's lifespan raises while it is served, which is
            logged at once. ``"stop"`` (default): ``fastws serve``, :func:`run` and
            :meth:`Server.serve_forever` shut down and end the process with 3. ``"continue"``: they go on.
        max_body_size: Bytes of the body of one request; 413 beyond it (RFC 9110, section 15.5.14).
            Default None: no limit, because the body comes in pieces, and stays in the socket while the
            application takes none.
        limits: As in :class:`Route`.
        timeouts: As in :class:`Route`. ``handshake`` (10 s) bounds the time until the application
            accepts or refuses a WebSocket; 503 beyond it (RFC 9110, section 15.6.4).
        compression: As in :class:`Route`.
        origins: As in :class:`Route`.
        require_origin: As in :class:`Route`.
        headers: As in :class:`Route`.

    Raises:
        TypeError: ``app`` is not callable.
        ValueError: ``root_path`` does not begin with ``/``, or ``lifespan`` or ``lifespan_failure`` is none
            of those named.
    """

    def __init__(
        self,
        app: Application,
        *,
        root_path: str = "",
        lifespan: str = "auto",
        lifespan_failure: str = "stop",
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
        if lifespan_failure not in LIFESPAN_FAILURES:
            choices = ", ".join(LIFESPAN_FAILURES)
            raise ValueError(f"lifespan_failure is one of {choices}, not {lifespan_failure!r}")
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
        #: What the application's requests and WebSockets are told of it.
        self.mount = Mount(app, root_path.rstrip("/"))
        #: The application's tasks that run now.
        self.tasks: set[asyncio.Task[None]] = set()
        self._lifespan_mode = lifespan
        self._lifespan_failure = lifespan_failure
        self._lifespan: Lifespan | None = None

    async def startup(self, failed: Callable[[], None] | None = None) -> None:
        """Run the application's startup; a server does so before it listens.

        Args:
            failed: Called when the lifespan fails while the application is served, if that shall stop the
                server. Default: nothing.

        Raises:
            StartupFailed: The application says that its startup has failed, or, where ``lifespan`` is
                ``"on"``, that it has none.
            RuntimeError: A server serves this ``ASGI`` already.
        """
        if self._lifespan is not None:
            raise RuntimeError("this application is served already; make another ASGI(app)")
        self.mount.state = {}
        self._lifespan = lifespan = Lifespan(self.mount.app, self._lifespan_mode, self.mount.state)
        try:
            await lifespan.startup(failed if self._lifespan_failure == "stop" else None)
        except BaseException:
            self._lifespan = None
            raise

    async def shutdown(self, timeout: float | None) -> None:
        """Run the application's shutdown; a server does so last.

        Args:
            timeout: Seconds after which the application's task is cancelled. None: never.
        """
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown(timeout)

    def begin(
        self, connection: Connection, phase: ServerPhase, request: Request, endpoint: Endpoint
    ) -> Session | Exchange:
        """Start the application on one request, in a task.

        Returns:
            What the connection reports to until the request is answered or the WebSocket is accepted.
        """
        exchange: Session | Exchange
        if request.upgrade:
            exchange = Session(self.mount, connection, phase, request, endpoint)
        else:
            exchange = Exchange(self.mount, connection, phase, request, endpoint)
        token = request_var.set(request)  # of this task, and of those that it begins
        task = create_task(exchange.run())
        request_var.reset(token)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return exchange


def _with_body(limits: Limits | Mapping[str, Any] | None, size: int) -> Limits | Mapping[str, Any]:
    if isinstance(limits, Limits):
        return replace(limits, max_body_size=size)
    return {**(limits or {}), "max_body_size": size}
