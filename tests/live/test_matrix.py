"""Every pair of transport and loop, in both roles, against what was not written here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import fastws
from tests.live.foreign import Foreign
from tests.live.foreign_servers import SERVERS, SUBPROTOCOL, open_server
from tests.live.servers import ENGINES, LOOPS, Servers, Site, needs_engine

pytestmark = [pytest.mark.live, pytest.mark.foreign]

#: Text of one to four bytes a character, at the lengths at which a frame's header changes.
TEXTS = ["", "x", "é" * 62 + "x", "€" * 42, "a" * 65535, "🐍" * 16384]


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    uvloop = pytest.importorskip("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main)


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loop", LOOPS)
async def test_as_server(client: Foreign, servers: Servers, scheme: str, loop: str, engine: str) -> None:
    needs_engine(engine)
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    site = servers.get(scheme=scheme, loop=loop, engine=engine)
    assert await served_as_it_should_be(client, site) == 4001


async def served_as_it_should_be(client: Foreign, site: Site) -> int:
    """Echo in all types and sizes, compressed and not, then the room; return the last close's code."""
    for deflate in (False, True):
        peer = await client.connect(site, "/echo", deflate=deflate)
        for text in TEXTS:
            for message in (text, text.encode()):
                await peer.send(message)
                assert await peer.receive() == message
        await peer.send_fragments(["one ", "", "message ", "é" * 3000])
        assert await peer.receive() == "one message " + "é" * 3000
        await peer.ping(b"are you there?")
        assert (await peer.close(1000)).code == 1000
    speaker = await client.connect(site, "/broadcast")
    listener = await client.connect(site, "/broadcast", deflate=True)
    for message in ("to all", b"\x00\xff" * 2000):
        await speaker.send(message)
        assert [await speaker.receive(), await listener.receive()] == [message, message]
    assert (await listener.close(4001, "bye")).code == 4001
    return (await speaker.close(4001)).code


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", SERVERS)
def test_as_client(
    server: str, scheme: str, loop: str, certificates: Path, request: pytest.FixtureRequest
) -> None:
    node = request.getfixturevalue("node") if server == "ws" else None
    run_on(loop, talk_to(server, certificates if scheme == "wss" else None, node))


async def talk_to(name: str, certificates: Path | None, node: Path | None) -> None:
    options: dict[str, Any] = {"subprotocols": ["chat.v3", SUBPROTOCOL]}
    if certificates is not None:
        options["ssl"] = Site.trust(certificates)
    async with open_server(name, certificates, node) as server:
        async with fastws.connect(server.url, **options) as ws:
            assert ws.subprotocol == SUBPROTOCOL
            for text in TEXTS:
                for message in (text, text.encode()):
                    await ws.send(message)
                    assert await ws.recv() == message
            await ws.send(["one ", "", "message ", "é" * 3000])
            assert await ws.recv() == "one message " + "é" * 3000
            assert 0 < await ws.ping() < 5
            await ws.close(4002, "enough")
            assert (ws.close_code, await server.closed()) == (4002, 4002)
        async with fastws.connect(server.url, compression=None, **options) as ws:
            await ws.send("close 4003 told so")
            with pytest.raises(fastws.ConnectionClosedError) as closed:
                await ws.recv()
            assert (closed.value.code, closed.value.reason, closed.value.by_peer) == (4003, "told so", True)


class Collect(fastws.Handler):
    """The other style: callbacks."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.closed: list[tuple[int, str]] = []

    def on_open(self, ws: fastws.WebSocket) -> None:
        ws.send_nowait("hello")

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        self.messages.append(message)
        ws.send_nowait("close 1000 done")

    def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
        self.closed.append((code, reason))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("server", SERVERS)
def test_as_client_with_callbacks(server: str, loop: str, request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue("node") if server == "ws" else None
    handler = Collect()

    async def main() -> None:
        async with open_server(server, None, node) as opened:
            ws = await fastws.connect(opened.url, handler=handler)
            await ws.wait_closed()
            assert await opened.closed() == 1000

    run_on(loop, main())
    assert (handler.messages, handler.closed) == (["hello"], [(1000, "done")])
