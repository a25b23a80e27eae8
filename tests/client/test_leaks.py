"""A connection that has ended is freed at once, on both sides, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

import fastws
from fastws.connection.connection import Connection
from tests.client.loops import both_loops
from tests.client.peers import Certificates
from tests.kit import until

pytestmark = pytest.mark.live


def transports_and_connections() -> list[Any]:
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) is Connection or type(thing).__name__ in ("SSLProtocol", "_SSLProtocolTransport")
    ]


async def closed(url: str, **options: Any) -> None:
    async with fastws.connect(url, **options) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def closed_by_the_peer(url: str, **options: Any) -> None:
    ws = await fastws.connect(url, **options)
    await ws.send("bye")
    with suppress(fastws.ConnectionClosed):
        await ws.recv()


async def refused(url: str, **options: Any) -> None:
    with pytest.raises(fastws.HandshakeRefused):
        await fastws.connect(f"{url}nowhere", **options)


async def given_up(url: str, **options: Any) -> None:
    with pytest.raises(TimeoutError):
        await fastws.connect(f"{url}never", open_timeout=0.1, **options)


async def never(_: fastws.Request) -> None:
    await asyncio.sleep(100)


async def talk(ws: fastws.WebSocket) -> None:
    async for message in ws:
        if message == "bye":
            return
        await ws.send(message)


@both_loops
@pytest.mark.parametrize("end", [closed, closed_by_the_peer, refused, given_up])
@pytest.mark.parametrize("secure", [False, True])
async def test_nothing_is_left(end: Any, secure: bool, tls: Certificates) -> None:
    options = {"ssl": tls.client} if secure else {}
    app = [fastws.Route("/", talk), fastws.Route("/never", talk, authorize=never)]
    gc.collect()
    gc.disable()
    others = set(map(id, transports_and_connections()))  # of other tests, which hold on to them
    try:
        async with fastws.serve(app, "127.0.0.1", ssl=tls.server if secure else None) as server:
            await end(f"{'wss' if secure else 'ws'}://127.0.0.1:{server.port}/", **options)
            await until(lambda: not server.connections)
            await until(
                lambda: others.issuperset(map(id, transports_and_connections())), "what is left to go"
            )
    finally:
        gc.enable()
