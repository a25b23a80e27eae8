"""The listener for who operates the server: never a port that clients come to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastws.observe.health import Health
from fastws.server.server import Server
from fastws.server.settings import settings_from
from fastws.web.routes import Route

__all__ = ["ListenerThread", "listening", "operator_routes"]

#: Scrapers, probes and people at the same time.
MAX_CONNECTIONS = 32
#: Seconds that they have for their last answer.
GRACE = 1.0


def operator_routes(health: Health, metrics: Callable[[Any], Any] | None) -> list[Route]:
    """Return the routes of the metrics listener."""
    routes = [Route("/livez", http=health.livez), Route("/readyz", http=health.readyz)]
    if metrics is not None:
        routes.append(Route("/metrics", http=metrics))
    return routes


@asynccontextmanager
async def listening(routes: list[Route], sockets: list[socket.socket]) -> AsyncIterator[Server]:
    """Serve ``routes`` on the running loop. The sockets belong to the server from now on."""
    settings = settings_from(
        access_log=False, compression=None, limit_concurrency=MAX_CONNECTIONS, notsent_lowat=None
    )
    server = Server(routes, settings)
    try:
        for sock in sockets:
            await server.listen(sock=sock)
        yield server
    finally:
        await server.shutdown(GRACE)


class ListenerThread:
    """The same beside a process that has no loop: a thread with one of its own.

    Args:
        routes: what is served; they run in that thread.
        sockets: listening ones.
    """

    def __init__(self, routes: list[Route], sockets: list[socket.socket]) -> None:
        self._routes = routes
        self._sockets = sockets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Future[None] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastws-observe", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Serve no more, and wait for the end of the thread."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set_result, None)
            self._thread.join(GRACE + 1.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        async with listening(self._routes, self._sockets):
            self._started.set()
            await self._stop
