"""How much is inflated before a handler takes it: counted at the inflater, for each kind of handler."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import fastws
from fastws import Limits, WebSocket
from fastws.protocol.websocket import frame_phase
from fastws.protocol.websocket.deflate import INFLATED_BYTES_AHEAD, Deflater, Inflater
from fastws.protocol.websocket.frames import FIN, RSV1, Engine, encode
from fastws.testing.wire import BINARY, CLOSE, PONG
from tests.kit import ManualLoop, Pair, wire
from tests.kit.served import opened
from tests.protocol.websocket.wire import ENGINES

SIZE = 1024 * 1024
COUNT = 100
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
#: One message may be inflated when a byte is missing to the bound.
BOUND = INFLATED_BYTES_AHEAD + SIZE


class Count:
    """Bytes inflated and taken, and the most that was ahead."""

    def __init__(self) -> None:
        self.inflated = self.taken = self.most = self.messages = 0

    def inflate(self, size: int) -> None:
        self.inflated += size
        self.most = max(self.most, self.inflated - self.taken)

    def take(self, message: str | bytes) -> None:
        self.taken += len(message)
        self.messages += 1


@pytest.fixture(params=ENGINES)
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    engine: Engine = request.param
    counted = Count()
    inflate = Inflater.__call__

    def counting(self: Inflater, payload: bytes, limit: int) -> bytes:
        message = inflate(self, payload, limit)
        counted.inflate(len(message))
        return message

    monkeypatch.setattr(Inflater, "__call__", counting)
    monkeypatch.setattr(frame_phase, "Reader", engine.Reader)
    yield counted


def bombs(count: int = COUNT) -> bytes:
    payload = Deflater()(bytes(SIZE))
    return encode(BINARY, payload, b"mask", FIN | RSV1) * count


def test_a_callback_handler(loop: ManualLoop, count: Count) -> None:
    class Taker(fastws.Handler):
        def on_message(self, ws: WebSocket, message: str | bytes) -> None:
            count.take(message)

    client = opened(loop, Taker(), DEFLATE)
    client.send(bombs() + wire.frame(wire.PING, b"p") + wire.frame(CLOSE, b"\x03\xe8"))
    assert count.messages <= 1  # the others have their turn first
    loop.settle()
    assert count.messages == COUNT
    assert count.most <= BOUND
    assert [one.opcode for one in client.frames()] == [PONG, CLOSE]


def test_an_async_on_open(loop: ManualLoop, count: Count) -> None:
    may_open = asyncio.Event()

    class Taker(fastws.Handler):
        async def on_open(self, ws: WebSocket) -> None:
            await may_open.wait()

        def on_message(self, ws: WebSocket, message: str | bytes) -> None:
            count.take(message)

    client = opened(loop, Taker(), DEFLATE)
    client.send(bombs())
    loop.settle()
    assert (count.messages, count.inflated) == (0, SIZE)
    may_open.set()
    loop.settle()
    assert count.messages == COUNT
    assert count.most <= BOUND


class Gate:
    """A coroutine handler that takes a message whenever the test says so."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.allowed = asyncio.Semaphore(0)
        self.ws: Any = None
        self.failure: Any = None

    async def __call__(self, ws: WebSocket) -> None:
        self.ws = ws
        try:
            while True:
                await self.allowed.acquire()
                self.count.take(await ws.recv())
        except fastws.ConnectionClosed as closed:
            self.failure = closed

    def let(self, loop: ManualLoop, times: int) -> None:
        for _ in range(times):
            self.allowed.release()
        loop.settle()


def test_a_coroutine(loop: ManualLoop, count: Count) -> None:
    gate = Gate(count)
    client = opened(loop, gate.__call__, DEFLATE)
    client.send(bombs() + wire.frame(wire.PING, b"p") + wire.frame(CLOSE, b"\x03\xe8bye"))
    loop.settle()
    assert count.inflated == SIZE
    assert client.frames() == []
    for taken in range(1, COUNT + 1):
        gate.let(loop, 1)
        assert count.messages == taken
        assert count.inflated <= (taken + 1) * SIZE
    assert count.most <= BOUND
    gate.let(loop, 1)
    assert (gate.failure.code, gate.failure.reason) == (1000, "bye")
    assert [one.opcode for one in client.frames()] == [PONG, CLOSE]


def test_one_frame_in_each_read(loop: ManualLoop, count: Count) -> None:
    gate = Gate(count)
    client = opened(loop, gate.__call__, DEFLATE)
    for _ in range(COUNT):
        client.send(bombs(1))
        loop.settle()
    assert count.inflated == SIZE
    gate.let(loop, COUNT)
    assert count.messages == COUNT
    assert count.most <= BOUND


def test_small_messages_fill_the_inbox_first(loop: ManualLoop, count: Count) -> None:
    """The count of the inbox is a bound as well."""
    gate = Gate(count)
    client = opened(loop, gate.__call__, DEFLATE, limits=Limits(receive_queue=4))
    client.send(encode(BINARY, Deflater()(bytes(100_000)), b"mask", FIN | RSV1) * 50)
    loop.settle()
    assert count.inflated == 300_000
    gate.let(loop, 50)
    assert count.messages == 50
    assert count.most <= INFLATED_BYTES_AHEAD + 100_000


def test_who_keeps_up_is_not_held_back(loop: ManualLoop, count: Count) -> None:
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            count.take(message)

    client = opened(loop, echo, DEFLATE)
    client.send(bombs())
    loop.settle()
    assert count.messages == COUNT
    assert count.most <= BOUND


@pytest.mark.parametrize("lost", [False, True])
def test_the_end_while_much_is_not_inflated(loop: ManualLoop, count: Count, lost: bool) -> None:
    """A close by us sees the peer's behind all that; one that is lost leaves nothing behind."""
    gate = Gate(count)
    client = opened(loop, gate.__call__, DEFLATE)
    client.send(bombs())
    loop.settle()
    if lost:
        client.transport.abort()
        loop.settle()
        gate.let(loop, 3)
        assert (gate.failure.code, count.messages) == (1006, 1)
        return
    gate.ws.close_nowait(1000)
    loop.settle()
    assert client.frames()[-1].opcode == CLOSE
    client.close(1000)
    loop.settle()
    assert client.transport.is_closing()
    gate.let(loop, 3)
    assert gate.failure.code == 1000
    assert count.most <= count.inflated <= COUNT * SIZE


def test_pause_reading_stops_the_inflating(loop: ManualLoop, count: Count) -> None:
    class Pauser(fastws.Handler):
        def on_open(self, ws: WebSocket) -> None:
            self.ws = ws

        def on_message(self, ws: WebSocket, message: str | bytes) -> None:
            count.take(message)
            ws.pause_reading()

    handler = Pauser()
    client = opened(loop, handler, DEFLATE)
    client.send(bombs(5))
    loop.settle()
    for number in range(1, 6):
        assert (count.messages, count.inflated) == (number, number * SIZE)
        handler.ws.resume_reading()
        loop.settle()
    assert count.messages == 5


def test_an_asgi_application(loop: ManualLoop, count: Count) -> None:
    allowed = asyncio.Semaphore(0)
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not events or events[-1]["type"] == "websocket.receive":
            await allowed.acquire()
            events.append(await receive())
            count.take(events[-1].get("bytes", b""))

    client = opened(loop, fastws.ASGI(app, lifespan="off"), DEFLATE)
    client.send(bombs(10) + wire.frame(CLOSE, b"\x03\xe8"))
    loop.settle()
    assert count.inflated == SIZE
    for _ in range(11):
        allowed.release()
        loop.settle()
    assert [event["type"] for event in events] == ["websocket.receive"] * 10 + ["websocket.disconnect"]
    assert count.most <= BOUND


def test_a_client(loop: ManualLoop, count: Count) -> None:
    class Sender(fastws.Handler):
        def on_open(self, ws: WebSocket) -> None:
            for _ in range(20):
                ws.send_nowait(bytes(SIZE), compress=True)

    pair = Pair(loop, Sender(), access_log=False)
    loop.settle()
    assert count.inflated == SIZE
    for _ in range(20):
        count.take(loop.run(pair.ws.recv()))
    assert count.most <= BOUND
    pair.shutdown()
