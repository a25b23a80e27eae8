"""``recv_streaming``: parts, back-pressure, and what is left of a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import fastws
from fastws.connection.stream_inbox import HIGH_WATER_BYTES, StreamInbox
from fastws.protocol.websocket.events import Fragment
from tests.client.loops import both_loops
from tests.client.peers import connected

MIB = 1024 * 1024


class Reading:
    """An inbox, and whether its socket is read."""

    def __init__(self, limit: int = 1000) -> None:
        self.paused = False
        self.refused = 0
        self.inbox = StreamInbox(limit, self.pause, self.resume, self.too_big)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def too_big(self) -> None:
        self.refused += 1
        self.inbox.end(lambda: fastws.ConnectionClosedError(1009))

    def put(self, data: str | bytes, *, final: bool = False) -> None:
        self.inbox.put(Fragment(data, final))


async def test_reading_pauses_while_nobody_takes_parts() -> None:
    reading = Reading()
    for _ in range(4):
        reading.put(b"x" * (HIGH_WATER_BYTES // 4))
    assert reading.paused
    parts = reading.inbox.parts()
    await anext(parts)
    assert reading.paused
    for _ in range(2):
        await anext(parts)
    assert not reading.paused


async def test_what_is_left_of_a_message_is_skipped() -> None:
    reading = Reading()
    for data, final in (("a", False), ("b", False), ("c", True), ("d", True)):
        reading.put(data, final=final)
    parts = reading.inbox.parts()
    assert await anext(parts) == "a"
    assert await reading.inbox.get() == "d"
    with pytest.raises(fastws.ConcurrencyError, match="another recv_streaming"):
        await anext(parts)


async def test_a_cancelled_reader_loses_nothing() -> None:
    reading = Reading()
    reading.put("a")
    for waiting in (reading.inbox.get(), reading.inbox.get()):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.001)
    reading.put("b", final=True)
    assert await reading.inbox.get() == "ab"
    parts = reading.inbox.parts()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(parts), 0.001)
    reading.put("c", final=True)
    assert [part async for part in parts] == ["c"]
    with pytest.raises(StopAsyncIteration):
        await anext(parts)


async def test_one_reader_at_a_time() -> None:
    reading = Reading()
    first = asyncio.ensure_future(reading.inbox.get())
    await asyncio.sleep(0)
    with pytest.raises(fastws.ConcurrencyError):
        await reading.inbox.get()
    with pytest.raises(fastws.ConcurrencyError):
        reading.inbox.parts()
    reading.put(b"x", final=True)
    assert await first == b"x"


async def test_whole_messages_have_a_limit() -> None:
    reading = Reading(limit=3)
    for data, final in (("ab", False), ("cd", False), ("e", True)):
        reading.put(data, final=final)
    with pytest.raises(fastws.ConnectionClosedError, match="1009"):
        await reading.inbox.get()
    assert reading.refused == 1


async def test_the_end_comes_behind_what_waits() -> None:
    reading = Reading()
    reading.put("a", final=True)
    reading.inbox.end(lambda: fastws.ConnectionClosedOK(1000))
    assert await reading.inbox.get() == "a"
    with pytest.raises(fastws.ConnectionClosedOK):
        await reading.inbox.get()


@fastws.streaming
async def sizes(ws: fastws.WebSocket) -> None:
    """Answers each message with its size and the number of its parts."""
    while True:
        size = count = 0
        async for part in ws.recv_streaming():
            size, count = size + len(part), count + 1
        await ws.send(f"{size} {count}")


async def blocks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"\xa5" * MIB


@pytest.mark.live
@both_loops
async def test_a_message_larger_than_the_limit_and_the_buffers() -> None:
    async with connected(sizes) as ws:
        await ws.send(blocks(20))
        size, count = map(int, str(await ws.recv()).split())
        assert size == 20 * MIB
        assert count > 20
        await ws.send("small")
        assert await ws.recv() == "5 1"


@pytest.mark.live
@both_loops
async def test_a_client_in_parts_reads_no_further_than_it_takes() -> None:
    sent = 0

    async def pour(ws: fastws.WebSocket) -> None:
        async def counted() -> AsyncIterator[bytes]:
            nonlocal sent
            async for block in blocks(64):
                yield block
                sent += 1

        await ws.send(counted())

    async with connected(pour, streaming=True) as ws:
        parts = ws.recv_streaming()
        got = len(await anext(parts))
        await asyncio.sleep(0.2)
        assert sent < 40, "the server must wait for the reader"
        async for part in parts:
            got += len(part)
        assert got == 64 * MIB
        with pytest.raises(fastws.ConnectionClosedOK):
            await anext(ws.recv_streaming())


@pytest.mark.live
@both_loops
async def test_a_flood_of_small_fragments_arrives_whole() -> None:
    async with connected(sizes) as ws:
        await ws.send(["ab"] * 20_000)
        assert str(await ws.recv()).split()[0] == "40000"


@pytest.mark.live
@both_loops
async def test_callbacks_get_parts_and_a_failing_one_closes() -> None:
    seen: list[fastws.Fragment] = []

    class Parts(fastws.Handler):
        def on_message(self, ws: fastws.WebSocket, message: object) -> None:
            assert isinstance(message, fastws.Fragment)
            if message.data == "fail":
                raise RuntimeError("as asked")
            seen.append(message)
            ws.send_nowait("ok")

    async with connected(fastws.streaming(Parts)) as ws:
        assert ws.response is not None
        assert "sec-websocket-extensions" not in ws.response.headers
        await ws.send("hello")
        assert await ws.recv() == "ok"
        assert seen == [fastws.Fragment("hello", final=True)]
        await ws.send("fail")
        with pytest.raises(fastws.ConnectionClosedError, match="1011"):
            await ws.recv()


@pytest.mark.live
@both_loops
async def test_limits_of_a_streaming_handler() -> None:
    async def whole(ws: fastws.WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    limited = fastws.streaming(whole, max_message_size=100)
    async with connected(limited) as ws:
        await ws.send(["é" * 20, "b"])
        assert await ws.recv() == "é" * 20 + "b"
        await ws.send("x" * 101)
        with pytest.raises(fastws.ConnectionClosedError, match="1009"):
            await ws.recv()
    with pytest.raises(ValueError, match="at least 1"):
        fastws.streaming(whole, max_message_size=0)
    with pytest.raises(TypeError):
        fastws.streaming(object())


@pytest.mark.live
@both_loops
async def test_elsewhere_a_message_has_one_part_and_reading_can_pause() -> None:
    async def hello(ws: fastws.WebSocket) -> None:
        await ws.send(["hel", "lo"])
        await ws.wait_closed()

    async with connected(hello) as ws:
        ws.pause_reading()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.05)
        ws.resume_reading()
        assert [part async for part in ws.recv_streaming()] == ["hello"]
