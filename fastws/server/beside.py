"""Listeners with routes of their own, in a process that serves an application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastws.config import Settings
from fastws.meters.meters import measuring
from fastws.server.server import Server
from fastws.server.site import App

__all__ = ["Beside", "listening_beside"]

#: Seconds that requests under way have when the application begins to stop.
GRACE = 1.0


@dataclass(frozen=True, slots=True)
class Beside:
    """What is served there, where (arguments of :meth:`Server.listen`), and how."""

    app: App
    addresses: Sequence[Mapping[str, Any]]
    settings: Settings


@contextlib.asynccontextmanager
async def listening_beside(parts: Iterable[Beside]) -> AsyncIterator[None]:
    """Listen there while the block runs. At its end requests under way are answered, and no more are taken.

    Raises ``OSError`` where one cannot listen.
    """
    servers: list[Server] = []
    try:
        for part in parts:
            server = Server(part.app, part.settings)
            servers.append(server)
            if (meters := measuring()) is not None:
                server.measure(meters)  # its requests are among those of all
            for address in part.addresses:
                await server.listen(**address)
        yield
    finally:
        await asyncio.gather(*(server.shutdown(GRACE) for server in servers))
