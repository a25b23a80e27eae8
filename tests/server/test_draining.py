"""How the clients of a server that leaves are let go; a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastws
from fastws import ASGI, Request, Response, Route
from fastws.server.draining import drain
from fastws.testing.wire import CLOSE, handshake
from tests.kit import ManualLoop, RawClient
from tests.server.sites import Site, page

SECONDS = 30.0


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def slowly(request: Request) -> Response | None:
    await asyncio.sleep(5)
    return None


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(5)
    await send({"type": "websocket.accept"})
    await receive()


def begin(loop: ManualLoop, site: Site) -> asyncio.Task[None]:
    task = loop.create_task(drain(site.server, SECONDS, 1012, "the server restarts"))
    loop.settle()
    return task


def closed(client: RawClient) -> int:
    """The code of the close frame that has come; 0: none has."""
    closes = [frame for frame in client.frames() if frame.opcode == CLOSE]
    return int.from_bytes(closes[0].payload[:2], "big") if closes else 0


def test_all_are_closed_within_the_time_and_not_together(loop: ManualLoop) -> None:
    site = Site(loop, Route("/", echo), timeouts={"ping_interval": None})
    clients = [site.client() for _ in range(10)]
    for client in clients:
        assert client.upgrade("/").status == 101
    task = begin(loop, site)
    assert not site.server.is_serving()
    open_ones, steps = clients, 0
    for _ in range(int(SECONDS)):
        loop.advance(1)
        codes = [closed(client) for client in open_ones]
        assert set(codes) <= {0, 1012}
        steps += 1012 in codes
        open_ones = [client for client, code in zip(open_ones, codes, strict=True) if not code]
    assert task.done() and open_ones == []
    assert steps >= 5  # each has a part of the time, 2.6 s, to itself


def test_who_has_nobody_leaves_at_once(loop: ManualLoop) -> None:
    task = begin(loop, Site(loop, Route("/", echo)))
    loop.advance(1)
    assert task.done()


def test_a_request_that_comes_late_is_served(loop: ManualLoop) -> None:
    """From far away, with TLS, it takes longer than the half second after the last accept."""
    site = Site(loop, Route("/", echo, http=page))
    late, plain, idle = site.client(), site.client(), site.client()
    idle.get("/")
    loop.settle()
    task = begin(loop, site)
    loop.advance(4)
    assert not task.done()
    assert late.upgrade("/").status == 101
    plain.get("/")
    loop.settle()
    assert plain.response().status == 200
    loop.advance(1)
    assert task.done() and closed(late) == 1012


def test_nobody_waits_longer_for_a_request_than_its_deadline(loop: ManualLoop) -> None:
    site = Site(loop, Route("/", echo))
    silent = site.client()
    task = begin(loop, site)
    loop.advance(9)
    assert not task.done()
    loop.advance(2)
    assert task.done() and silent.transport.lost


@pytest.mark.parametrize("route", [Route("/", echo, authorize=slowly), ASGI(app, lifespan="off")])
def test_an_upgrade_that_is_being_decided_on_is_waited_for(route: Any, loop: ManualLoop) -> None:
    site = Site(loop, route)
    client = site.client()
    client.send(handshake("/"))
    loop.settle()
    task = begin(loop, site)
    loop.advance(4)
    assert not task.done()
    loop.advance(2)
    assert task.done()
    assert client.response().status == 101 and closed(client) == 1012


def test_streams_without_an_end_are_told_within_the_time(loop: ManualLoop) -> None:
    told: list[float] = []

    class Endless:
        def __init__(self) -> None:
            self.over = loop.create_future()

        def __aiter__(self) -> Endless:
            return self

        async def __anext__(self) -> bytes:
            await self.over
            raise StopAsyncIteration

        def server_stops(self) -> None:
            told.append(loop.time())
            self.over.set_result(None)

    site = Site(loop, Route("/", http=lambda request: Response(stream=Endless())), Route("/page", http=page))
    clients = [site.client() for _ in range(10)]
    for client in clients:
        client.get("/")
    site.client().get("/page")
    loop.settle()
    task = begin(loop, site)
    began = loop.time()
    loop.advance(SECONDS)
    assert task.done()
    assert len(told) == 10
    assert all(0 < when - began < SECONDS for when in told)
    assert len({round(when) for when in told}) > 3
    for client in clients:
        assert client.pending().endswith(b"\r\n\r\n0\r\n\r\n")
        client.transport.feed_eof()
    loop.settle()
    # At the stop itself nobody is told a second time.
    loop.run(site.server.shutdown(1))
    assert len(told) == 10
