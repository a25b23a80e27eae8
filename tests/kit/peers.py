"""What only the tests of fastws itself need of the other side of a connection."""

from __future__ import annotations

from typing import Any

import fastws.testing
from fastws.client.connect import connect
from fastws.connection.websocket import WebSocket
from fastws.server.serve import serve
from fastws.server.server import Server
from fastws.testing import ManualLoop
from tests.kit.fanout import Kernel

__all__ = ["Pair", "RawClient"]


class RawClient(fastws.testing.RawClient):
    """``kernel`` gives the server's end a descriptor, for writes past its transport."""

    def __init__(
        self, server: Server, loop: ManualLoop, *, kernel: Kernel | None = None, **options: Any
    ) -> None:
        if kernel is not None:
            options["socket"] = kernel.open()
        super().__init__(server, loop, **options)
        if kernel is not None:
            kernel.attach(self.transport)


class Pair:
    """A server with ``app`` and a client of it, both real, joined in memory.

    ``ws`` is the client's WebSocket, ``client`` and ``server`` are the two ends' transports.
    Keyword arguments go to ``serve``; ``client`` holds those for ``connect``.
    """

    def __init__(
        self,
        loop: ManualLoop,
        app: Any,
        path: str = "/",
        *,
        client: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.loop = loop
        self.owner: Server = loop.run(_serve(app, settings))
        self.ws: WebSocket = loop.run(_connect(f"ws://server:{self.owner.port}{path}", client or {}))
        self.client, self.server = loop.network.connections[-1]

    def shutdown(self, timeout: float | None = 10.0) -> None:
        self.loop.run(self.owner.shutdown(timeout))


async def _serve(app: Any, settings: dict[str, Any]) -> Server:
    return await serve(app, **settings)


async def _connect(url: str, settings: dict[str, Any]) -> WebSocket:
    return await connect(url, **settings)
