"""A server without an access log and without pings, and clients of it."""

from __future__ import annotations

from typing import Any

import fastws
from fastws import Request, Response, Server, WebSocket
from tests.kit import ManualLoop, RawClient

__all__ = ["QUIET", "coroutine", "opened", "page", "served"]

QUIET: dict[str, Any] = {"access_log": False, "timeouts": {"ping_interval": None}}


def served(loop: ManualLoop, app: Any, **settings: Any) -> Server:
    async def start() -> Server:
        return await fastws.serve(app, **{**QUIET, **settings})

    return loop.run(start())


def opened(loop: ManualLoop, server: Server, path: str = "/") -> RawClient:
    client = RawClient(server, loop)
    assert client.upgrade(path).status == 101
    return client


def page(request: Request) -> Response:
    return Response(200, "page")


async def coroutine(ws: WebSocket) -> None:
    await ws.recv()
