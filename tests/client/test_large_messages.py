"""Large messages that a client receives: read to where they will stay, on a loop that can."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest

import fastws
from fastws.connection.connection import Connection
from fastws.protocol.websocket.frames import ENGINE
from tests.kit import until
from tests.live.raw import BINARY, TEXT, accepted, frame

uvloop = pytest.importorskip("uvloop")
MIB = 1024 * 1024
#: Of whatever is cut, this much is sent at first: more than the kernel holds back.
CUT = 700_000


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class Peer:
    """A server made by hand, for one client."""

    async def __aenter__(self) -> Peer:
        self._streams: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.get_running_loop().create_future()
        )
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = head.lower().partition("sec-websocket-key: ")[2]
        start = len(head) - len(key)
        self.writer = writer
        writer.write(accepted(head[start:].partition("\r\n")[0]))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


async def in_place(ws: fastws.WebSocket, *, value: bool) -> None:
    """Wait until the client reads so, or no more."""
    connection = next(each for each in gc.get_objects() if type(each) is Connection and each.ws is ws)
    await until(lambda: connection.machine.in_place is value)


async def received() -> None:
    options = {"limits": {"max_message_size": 8 * MIB}, "timeouts": {"close": 0.2}}
    async with Peer() as peer, fastws.connect(peer.url, **options) as ws:
        for opcode, payload in ((BINARY, bytes(range(256)) * 8192), (TEXT, "aé€".encode() * 500_000)):
            data = frame(opcode, payload, mask=None)
            await peer.send(data[:CUT])
            await in_place(ws, value=ENGINE == "c")
            await peer.send(data[CUT:] + frame(TEXT, b"small", mask=None))
            assert await ws.recv() == (payload if opcode == BINARY else payload.decode())
            assert await ws.recv() == "small"
            await in_place(ws, value=False)
        await ws.send("still here")


async def lost_on_the_way() -> None:
    for closing in (b"", b"\x88\x02\x03\xe8"):
        async with Peer() as peer, fastws.connect(peer.url, limits={"max_message_size": 8 * MIB}) as ws:
            data = frame(BINARY, bytes(2 * MIB), mask=None)
            await peer.send(data[:CUT])
            await in_place(ws, value=ENGINE == "c")
            # Inside a frame a close frame is payload.
            await peer.send(closing)
            peer.writer.close()
            with pytest.raises(fastws.ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1006


async def given_up_on_the_way() -> None:
    async with Peer() as peer, fastws.connect(peer.url, timeouts={"close": 0.2}) as ws:
        data = frame(BINARY, bytes(MIB), mask=None)
        await peer.send(data[:CUT])
        await in_place(ws, value=ENGINE == "c")
        closing = asyncio.ensure_future(ws.close(1001))
        await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            await peer.send(data[CUT:])
        await asyncio.wait_for(closing, 5)


async def sent() -> None:
    """Masked on its way, in a frame made before, compressed or not: and while the peer is slow to read."""
    limits = {"max_message_size": 8 * MIB}
    options: dict[str, Any]
    for options in ({}, {"compression": None}):
        async with (
            fastws.serve(echo, "127.0.0.1", 0, limits=limits) as server,
            fastws.connect(f"ws://127.0.0.1:{server.port}", limits=limits, **options) as ws,
        ):
            messages: list[str | bytes] = []
            for size in (65_535, 65_536, 65_537, 300_003, 3 * MIB):
                text = ("0123456789abcdefg" * (size // 17 + 1))[:size]
                messages += [text, text.encode(), "é" + text]
            sender = asyncio.ensure_future(_send_all(ws, messages))
            for message in messages:
                same = await ws.recv() == message  # what differs is too large to be shown
                assert same
            await sender


async def _send_all(ws: fastws.WebSocket, messages: list[str | bytes]) -> None:
    for message in messages:
        await ws.send(message)


async def both_send_more_than_is_read() -> None:
    """Neither may stop to read for as long as the other does not read what it sends."""
    limits = {"max_message_size": 8 * MIB}
    for size, count in ((1000, 20_000), (300_000, 100)):
        async with (
            fastws.serve(echo, "127.0.0.1", 0, limits=limits, compression=None) as server,
            fastws.connect(f"ws://127.0.0.1:{server.port}", limits=limits) as ws,
        ):
            sender = asyncio.ensure_future(_send_all(ws, [bytes(size)] * count))
            for _ in range(count):
                assert len(await ws.recv()) == size
            await sender


@pytest.mark.parametrize(
    "scene", [sent, both_send_more_than_is_read, received, lost_on_the_way, given_up_on_the_way]
)
def test_on_uvloop(scene: object) -> None:
    uvloop.run(scene())  # type: ignore[operator]
