"""The listener for who operates the server: never a port that clients come to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastws.observe.health import Health
from fastws.server.server import Server
from fastws.server.settings import settings_from
from fastws.web.routes import Route

__all__ = ["listening", "operator_routes"]

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
