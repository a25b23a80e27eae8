"""An ASGI application on a server of ours, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastws

App = Callable[[Any, Any, Any], Awaitable[None]]


class Client:
    """A connection made of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def ask(self, target: str = "/", *lines: str, method: str = "GET", version: str = "1.1") -> None:
        head = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: x", *lines])
        self.writer.write(f"{head}\r\n\r\n".encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(10):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def rest(self) -> bytes:
        """All until the server ends the connection."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readexactly(size)


@asynccontextmanager
async def served(app: App, **settings: Any) -> AsyncIterator[Client]:
    """A client of a server that has only this application; nothing of either is left."""
    asgi = fastws.ASGI(app, **settings)
    async with fastws.serve(asgi, "127.0.0.1", access_log=False) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
    await asyncio.sleep(0)  # one that is done is forgotten a turn later
    assert not asgi.tasks
    assert asyncio.all_tasks() == {asyncio.current_task()}


def answering(*pieces: bytes, status: int = 200, headers: Any = ()) -> App:
    """An application that reads the request and sends these pieces."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP here")
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, piece in enumerate(pieces):
            more = number < len(pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    return app


def sending(*events: dict[str, Any]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x", "more_body": True}


async def receive_nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
