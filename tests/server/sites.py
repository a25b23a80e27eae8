"""A server with given routes, and clients made of bytes."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws import Request, Response, WebSocket
from tests.kit import ManualLoop, RawClient
from tests.kit.served import served

__all__ = ["Site", "body", "coroutine", "page", "slow", "statuses"]


class Site:
    """A server with these routes, and clients made of bytes."""

    def __init__(self, loop: ManualLoop, *routes: Any, **settings: Any) -> None:
        self.loop = loop
        self.server = served(loop, list(routes), **{"timeouts": {}, **settings})

    def client(self, **options: Any) -> RawClient:
        return RawClient(self.server, self.loop, **options)

    def ask(self, target: str, *headers: str, method: str = "GET") -> Any:
        """The answer to one request on a connection of its own."""
        client = self.client()
        client.get(target, *headers, method=method)
        self.loop.settle()
        return client.response(head_only=method == "HEAD")


def page(request: Request) -> Response:
    return Response(200, f"{request.method} {request.target}")


def body(request: Request) -> Response:
    return Response(200, request.body)


async def coroutine(ws: WebSocket) -> None:
    await ws.recv()


async def slow(request: Request) -> Response:
    await asyncio.sleep(float(request.query or 1))
    return Response(200, f"slow {request.query}")


def statuses(client: RawClient) -> list[int]:
    return [answer.status for answer in client.responses()]
