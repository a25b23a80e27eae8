"""What a type checker says about tests that use fastws.testing; nothing here is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import fastws
from fastws.testing import Clock, End, ManualLoop, RawClient, Recorder, live, pair, until, wire


async def handler(ws: fastws.WebSocket) -> None:
    await ws.send("hello")


async def test_pairs(fastws_pair: Callable[..., pair], fastws_clock: Clock) -> None:
    async with fastws_pair(handler) as ws:
        assert_type(ws, fastws.WebSocket)
    link = pair([fastws.Route("/", handler)], clock=fastws_clock, limits={"receive_queue": 1}, timeout=None)
    async with link as ws:
        assert_type(ws, fastws.WebSocket)
        assert_type(link.server, fastws.Server)
        assert_type(link.client_end, End)
        assert_type(await link.connect("/other"), fastws.WebSocket)
        await fastws_clock.advance(1)
        await until(lambda: ws.closed, "the end", timeout=1.0)
    pair(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pair(handler, limit={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with live(handler) as site:
        assert_type(site.url, str)


async def serve() -> fastws.Server:
    return await fastws.serve(Recorder(echo=True))


def test_by_hand(fastws_loop: ManualLoop) -> None:
    with ManualLoop() as loop:
        server = loop.run(serve())
        assert_type(server, fastws.Server)
        client = RawClient(server, loop)
        assert_type(client.upgrade().status, int)
        assert_type(client.frames(), list[wire.Frame])
