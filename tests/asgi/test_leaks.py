"""A connection of an ASGI application leaves nothing that only the garbage collector could find."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from websockets.asyncio.client import connect

import fastws
from fastws.asgi.http import Exchange
from fastws.asgi.websocket import Session
from tests.kit import until

pytestmark = pytest.mark.live


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        return
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        pass


def alive() -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing) in (Exchange, Session)]


async def test_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    others = alive()  # of other tests, whose reports hold on to them
    try:
        async with fastws.serve(fastws.ASGI(app, lifespan="off"), "127.0.0.1", access_log=False) as server:
            url = f"ws://127.0.0.1:{server.port}/"
            for end in ("close", "abort", "page", "refused"):
                if end == "page":
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    await reader.read()
                    writer.close()
                elif end == "refused":
                    with pytest.raises(fastws.HandshakeRefused):
                        await fastws.connect(f"{url}refused")
                else:
                    ws = await connect(url, proxy=None)
                    await ws.send("hello")
                    await ws.close() if end == "close" else ws.transport.abort()
                await until(lambda: not server.connections)
                await until(lambda: len(alive()) == len(others))
    finally:
        gc.enable()
