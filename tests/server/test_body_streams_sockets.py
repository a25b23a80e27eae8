"""Responses of async iterators over real sockets: what only a kernel does to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

import fastws
from fastws import Response, Route
from tests.kit import until
from tests.kit.body_pieces import FOREVER, Pieces


@pytest.mark.live
async def test_a_client_that_leaves_a_socket_is_seen_at_once() -> None:
    stream = Pieces(b"one", FOREVER)
    route = Route("/", http=lambda request: Response(stream=stream))
    async with fastws.serve(route, "127.0.0.1", 0, access_log=False) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"one\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await until(lambda: stream.said == ["cancelled", "closed"], "the iterator is closed")


@pytest.mark.live
@pytest.mark.parametrize(
    "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("application", ["page", "asgi"])
def test_a_body_without_a_length_that_breaks_off_is_no_whole_one(
    application: str, factory: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """To HTTP/1.0 the end of the connection is that of the body: a reset is none."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(0.01)
        raise ValueError("broken")

    async def scenario() -> None:
        stream = Pieces(b"half", ValueError("broken"))
        page = Route("/", http=lambda request: Response(stream=stream))
        route = page if application == "page" else fastws.ASGI(asgi, lifespan="off")
        async with fastws.serve(route, "127.0.0.1", 0, access_log=False) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
    assert len(caplog.records) == 1


@pytest.mark.live
async def test_an_iterator_that_never_pauses_is_told_that_its_client_has_gone() -> None:
    """Where the write itself finds the client gone, the loop has had no turn to tell of it."""
    gone = asyncio.Event()
    pieces = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pieces
        yield b"one"
        await gone.wait()
        while pieces < 100_000:
            pieces += 1
            yield b"x" * 1000

    route = Route("/", http=lambda request: Response(stream=endless()))
    async with fastws.serve(route, "127.0.0.1", 0, access_log=False) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"one\r\n")
        writer.transport.abort()
        while writer.transport.get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0)
        gone.set()
        await until(lambda: not server.connections, "the connection has ended")
    assert pieces < 1000
