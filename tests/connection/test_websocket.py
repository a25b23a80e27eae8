"""What a user holds: sending with verdicts and waiting, receiving, pings, and the end."""

from __future__ import annotations

import asyncio
import enum
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

import fastws
from fastws import (
    Compression,
    ConcurrencyError,
    ConnectionClosedError,
    ConnectionClosedOK,
    Limits,
    SendStatus,
    WebSocket,
)
from fastws.connection.websocket_core import HIGH_WATER_BYTES
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.conftest import Run
from tests.kit import Kernel, ManualLoop, Pair, RawClient, Recorder, frame
from tests.kit.served import NO_PINGS, QUIET, collect, opened, stall

# -- the whole way, on real loops ---------------------------------------------------------------


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def talk(
    handler: Callable[[WebSocket], Any], path: str = "/", **settings: Any
) -> tuple[Any, WebSocket]:
    server = await fastws.serve(handler, **{**QUIET, **settings})
    return server, await fastws.connect(f"ws://server:{server.port}{path}")


class TestOnBothLoops:
    def test_echo(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            for message in ("", "text", b"", b"\x00\xff", "ü" * 70_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.close()
            assert (ws.close_code, ws.close_reason, ws.closed) == (1000, "", True)
            await server.shutdown()

        run(scenario())

    def test_json(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            await ws.send_json({"a": [1, None, "ü"]})
            assert ws.send_json_nowait([]) is SendStatus.SENT
            assert [await ws.recv_json(), await ws.recv_json()] == [{"a": [1, None, "ü"]}, []]
            with pytest.raises(TypeError):
                await ws.send_json({1, 2})
            with pytest.raises(TypeError):
                ws.send_json_nowait({1, 2})
            ws.send_nowait("no json")
            with pytest.raises(orjson.JSONDecodeError):
                await ws.recv_json()
            await server.shutdown()
            await ws.wait_closed()

        run(scenario())

    def test_a_slow_reader_makes_the_sender_wait(self, run: Run) -> None:
        async def scenario() -> None:
            sent: list[int] = []

            async def flood(ws: WebSocket) -> None:
                for number in range(100):
                    await ws.send(str(number % 10) * 50_000)
                    sent.append(number)

            async def slow_client(ws: WebSocket) -> int:
                ws.pause_reading()
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(sent) < 50
                ws.resume_reading()
                count = 0
                async for message in ws:
                    assert message == str(count % 10) * 50_000
                    count += 1
                return count

            server, ws = await talk(flood)
            assert await slow_client(ws) == 100
            await server.shutdown()

        run(scenario())

    def test_concurrent_senders_do_not_mix(self, run: Run) -> None:
        async def scenario() -> None:
            async def many(ws: WebSocket) -> None:
                async with asyncio.TaskGroup() as group:
                    for letter in "abc":
                        group.create_task(ws.send([letter * 3 for _ in range(10)]))
                        group.create_task(ws.send(letter * 100))

            server, ws = await talk(many)
            got = [message async for message in ws]
            assert sorted(got) == sorted(
                [letter * 30 for letter in "abc"] + [letter * 100 for letter in "abc"]
            )
            await server.shutdown()

        run(scenario())

    def test_one_reader_at_a_time(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            reader = asyncio.create_task(ws.recv())
            await asyncio.sleep(0)
            with pytest.raises(ConcurrencyError):
                await ws.recv()
            reader.cancel()
            await asyncio.wait([reader])
            await ws.send("x")
            assert await ws.recv() == "x"
            await server.shutdown()

        run(scenario())

    def test_the_end_wakes_everybody(self, run: Run) -> None:
        async def scenario() -> None:
            async def leave(ws: WebSocket) -> None:
                await ws.recv()
                await ws.close(4000, "enough")

            server, ws = await talk(leave)
            reader = asyncio.create_task(ws.recv())
            pinger = asyncio.create_task(ws.ping())
            assert await pinger >= 0
            pinger = asyncio.create_task(ws.ping())
            ws.send_nowait("go")
            with pytest.raises(ConnectionClosedError, match="closed by the peer with 4000 'enough'"):
                await reader
            assert await pinger >= 0
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
            with pytest.raises(ConnectionClosedError):
                async for _ in ws:
                    pass
            with pytest.raises(ConnectionClosedError):
                await ws.send("late")
            with pytest.raises(ConnectionClosedError):
                await ws.ping()
            assert ws.send_nowait("late") is SendStatus.CLOSED
            await server.shutdown()

        run(scenario())


# -- verdicts -----------------------------------------------------------------------------------


class TestSendNowait:
    @pytest.mark.parametrize(
        ("message", "opcode", "payload"),
        [
            ("", TEXT, b""),
            ("ascii", TEXT, b"ascii"),
            ("ü", TEXT, "ü".encode()),
            (b"\xff", BINARY, b"\xff"),
            (bytearray(b"\xff"), BINARY, b"\xff"),
            (memoryview(b"\xff"), BINARY, b"\xff"),
            (type("Sub", (str,), {})("sub"), TEXT, b"sub"),
            (type("Sub", (bytes,), {})(b"sub"), BINARY, b"sub"),
        ],
    )
    def test_messages(self, loop: ManualLoop, message: Any, opcode: int, payload: bytes) -> None:
        client, ws, _ = collect(loop)
        assert ws.send_nowait(message) is SendStatus.SENT
        assert ws.buffered_amount == 2 + len(payload)
        loop.settle()
        assert client.frames() == [(opcode, payload, True, False, False)]
        assert ws.buffered_amount == 0

    @pytest.mark.parametrize("message", [5, None, ["a"], {"a": 1}])
    def test_what_is_no_message(self, loop: ManualLoop, message: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="str or bytes"):
            ws.send_nowait(message)

    def test_verdicts(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop, limits={"send_queue": 2})
        stall(loop, client, ws)
        assert [ws.send_nowait(m) for m in "abc"] == [
            SendStatus.QUEUED,
            SendStatus.QUEUED,
            SendStatus.DROPPED,
        ]
        assert not ws.closed
        client.read()
        assert client.texts() == ["stalls", "a", "b"]
        assert handler.events == [("open",), ("writable",)]
        ws.close_nowait()
        assert ws.send_nowait("late") is SendStatus.CLOSED
        assert ws.send_nowait(5) is SendStatus.CLOSED  # type: ignore[arg-type]

    def test_straight_to_the_socket(self, loop: ManualLoop, kernel: Kernel) -> None:
        handler = Recorder(echo=True)
        client = opened(loop, handler, kernel=kernel)
        calls = len(kernel.calls)
        client.send(frame(TEXT, "a") + frame(TEXT, "ü") + frame(BINARY, b"b"))
        loop.turn()
        assert len(kernel.calls) == calls + 1
        assert [one.payload for one in client.frames()] == [b"a", "ü".encode(), b"b"]
        client.stall(3)
        client.send(frame(TEXT, "a") + frame(TEXT, "b"))
        assert handler.ws.send_nowait("c") is SendStatus.QUEUED
        client.read()
        assert client.texts() == ["a", "b", "c"]


class TestSend:
    """``await ws.send``: accepted first, then it waits for the high-water mark."""

    def test_waits_until_enough_has_left(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        small = loop.create_task(ws.send("x"))
        loop.settle()
        assert small.done()
        large = loop.create_task(ws.send("y" * (HIGH_WATER_BYTES + 100)))
        loop.settle()
        assert not large.done()
        client.read(100)
        loop.settle()
        assert not large.done()
        client.read()
        loop.settle()
        assert large.done()
        assert [len(one.payload) for one in client.frames()] == [6, 1, HIGH_WATER_BYTES + 100]

    def test_is_never_dropped(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, limits={"send_queue": 1})
        stall(loop, client, ws)
        tasks = [loop.create_task(ws.send(str(number))) for number in range(5)]
        loop.settle()
        client.read()
        loop.settle()
        assert client.texts() == ["stalls", *"01234"]
        assert all(task.done() for task in tasks)

    def test_cancelled_it_still_goes(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        task = loop.create_task(ws.send("y" * 100_000))
        loop.settle()
        task.cancel()
        loop.settle()
        assert task.cancelled()
        client.read()
        assert [len(one.payload) for one in client.frames()] == [6, 100_000]

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_a_loop_of_sends_lets_the_turn_end(self, loop: ManualLoop, size: int) -> None:
        """Else all of it would be held before the socket could refuse any, and others would wait."""
        count = 1_000_000 // size
        turns: list[int] = []

        async def send_all() -> None:
            for _ in range(count):
                await ws.send("x" * size)

        def other() -> None:
            turns.append(ws.buffered_amount)
            if not task.done():
                loop.call_soon(other)

        client, ws, _ = collect(loop)
        task = loop.create_task(send_all())
        other()
        loop.settle()
        assert len(turns) >= min(count, 1000) / 64
        assert max(turns) < 200_000
        assert len(client.frames()) == count

    def test_parts_let_the_turn_end_too(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        client.stall(1000)
        made = []

        def parts() -> Any:
            for number in range(10_000):
                made.append(number)
                yield "x"

        task = loop.create_task(ws.send(parts()))
        loop.settle()
        assert len(made) < 1000
        client.read()
        loop.settle()
        assert task.done()

    @pytest.mark.parametrize("end", ["close", "loss", "eviction"])
    def test_the_end_wakes_who_waits(self, loop: ManualLoop, end: str) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        tasks = [loop.create_task(ws.send("y" * 100_000)), loop.create_task(ws.send(["a", "b"]))]
        loop.settle()
        if end == "close":
            ws.close_nowait()
        elif end == "loss":
            client.transport.lose()
        else:
            client.connection.evict("too slow")
        loop.settle()
        assert tasks[0].done()
        assert tasks[0].exception() is None
        assert isinstance(tasks[1].exception(), fastws.ConnectionClosed)

    def test_after_the_close(self, loop: ManualLoop) -> None:
        _, ws, _ = collect(loop)
        ws.close_nowait(1000, "done")
        with pytest.raises(ConnectionClosedOK, match="closed by this side with 1000 'done'") as caught:
            loop.run(ws.send("late"))
        assert (caught.value.code, caught.value.reason, caught.value.by_peer) == (1000, "done", False)

    def test_evicted_by_what_the_send_settles(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop, limits={"send_queue": 1})
        hub = Hub()
        hub.subscribe(ws, "t")
        stall(loop, client, ws)
        hub.publish("t", "1")
        hub.publish("t", "2")
        with pytest.raises(ConnectionClosedError, match="1008"):
            loop.run(ws.send("late"))
        loop.settle()
        assert handler.closes() == [(1008, "too slow")]


class TestFragments:
    """An iterable or async iterable goes as the fragments of one message."""

    @pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
    def test_kinds(self, loop: ManualLoop, kind: str) -> None:
        async def slowly() -> AsyncIterator[str]:
            for part in "abc":
                await asyncio.sleep(1)
                yield part

        client, ws, _ = collect(loop)
        parts: Any = {"list": list("abc"), "generator": (c for c in "abc"), "async generator": slowly()}[kind]
        loop.run(ws.send(parts))
        loop.settle()
        assert [one[:3] for one in client.frames()] == [
            (TEXT, b"a", False),
            (CONTINUATION, b"b", False),
            (CONTINUATION, b"c", True),
        ]

    def test_one_part_and_none(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        loop.run(ws.send([b"only"]))
        loop.run(ws.send([]))
        loop.settle()
        assert client.frames() == [(BINARY, b"only", True, False, False)]

    def test_other_messages_wait_for_the_last_part(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        hub, parts = Hub(), asyncio.Queue[str]()
        hub.subscribe(ws, "t")

        async def from_queue() -> AsyncIterator[str]:
            while part := await parts.get():
                yield part

        first = loop.create_task(ws.send(from_queue()))
        second = loop.create_task(ws.send(["second 1", "second 2"]))
        for part in ("1", "2", "3"):
            parts.put_nowait(part)
            loop.settle()
        assert ws.send_nowait("whole") is SendStatus.QUEUED
        hub.publish("t", "published")
        loop.settle()
        assert [one.payload for one in client.frames()] == [b"1", b"2"]
        client.ping(b"p")
        loop.settle()
        assert [one.opcode for one in client.frames()] == [PONG]
        parts.put_nowait("")
        loop.settle()
        assert [one.payload for one in client.frames()] == [
            b"3",
            b"whole",
            b"published",
            b"second 1",
            b"second 2",
        ]
        assert first.done()
        assert second.done()

    def test_the_limits_of_what_waits_for_the_last_part(self, loop: ManualLoop) -> None:
        """`send_nowait` is told, `send` waits, and both go on when the message is complete."""
        client, ws, _ = collect(loop, limits=Limits(send_queue=3))
        parts = asyncio.Queue[str]()

        async def from_queue() -> AsyncIterator[str]:
            while part := await parts.get():
                yield part

        first = loop.create_task(ws.send(from_queue()))
        for part in ("1", "2", "3"):
            parts.put_nowait(part)
        loop.settle()
        assert [ws.send_nowait("n") for _ in range(4)] == [SendStatus.QUEUED] * 3 + [SendStatus.DROPPED]
        sent = 0

        async def sender() -> None:
            nonlocal sent
            for _ in range(20):
                await ws.send("x" * 10_000)
                sent += 1

        task = loop.create_task(sender())
        loop.settle()
        assert sent == 6
        assert ws.outbox.queue_bytes < 80_000
        parts.put_nowait("")
        loop.settle()
        assert first.done()
        assert task.done()
        assert [len(one.payload) for one in client.frames()] == [1] * 6 + [10_000] * 20

    def test_a_close_wakes_who_waits_for_the_last_part(self, loop: ManualLoop) -> None:
        _, ws, _ = collect(loop)
        never = loop.create_future()

        async def parts() -> AsyncIterator[str]:
            yield "1"
            yield "2"
            await never

        first = loop.create_task(ws.send(parts()))
        loop.settle()
        second = loop.create_task(ws.send("x" * 100_000))
        loop.settle()
        assert not second.done()
        first.cancel()
        loop.settle()
        assert second.done()
        assert ws.closed

    def test_who_makes_the_parts_may_send_in_between(self, loop: ManualLoop) -> None:
        """It does not wait for the end of its own message, which would never come."""
        client, ws, _ = collect(loop)

        async def parts() -> AsyncIterator[str]:
            yield "1"
            yield "2"
            await ws.send("x" * 100_000)
            await ws.send("y" * 100_000)
            yield "3"

        task = loop.create_task(ws.send(parts()))
        loop.settle()
        assert task.done()
        assert [len(one.payload) for one in client.frames()] == [1, 1, 1, 100_000, 100_000]

    def test_they_overtake_nothing_that_waits(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        ws.send_nowait("accepted before")
        task = loop.create_task(ws.send(["1", "2"]))
        loop.settle()
        client.read()
        loop.settle()
        assert [one.payload for one in client.frames()] == [b"stalls", b"accepted before", b"1", b"2"]
        assert task.done()

    def test_they_wait_for_a_slow_socket(self, loop: ManualLoop) -> None:
        made = []

        def parts() -> Any:
            for number in range(5):
                made.append(number)
                yield bytes([number]) * 100_000

        client, ws, _ = collect(loop)
        client.stall(500)
        task = loop.create_task(ws.send(parts()))
        loop.settle()
        assert 2 <= len(made) <= 3
        client.read()
        loop.settle()
        assert task.done()
        assert [one.payload[0] for one in client.frames()] == [0, 1, 2, 3, 4]

    def test_the_sender_waits_for_the_last_one_too(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        client.stall()
        task = loop.create_task(ws.send(["x" * 100_000]))
        loop.settle()
        assert ws.outbox.blocked
        again = loop.create_task(ws.send(["y" * 100_000]))
        loop.settle()
        assert not again.done()
        client.read()
        loop.settle()
        assert task.done()
        assert again.done()

    @pytest.mark.parametrize("parts", [["a", b"b"], ["a", 5], [5]])
    def test_parts_of_another_type(self, loop: ManualLoop, parts: list[Any]) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError):
            loop.run(ws.send(parts))
        assert not ws.closed

    @pytest.mark.parametrize("message", [5, None, {"a": 1}])
    def test_what_is_no_message(self, loop: ManualLoop, message: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="a message is"):
            loop.run(ws.send(message))

    def test_cancelled_behind_the_last_part(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        client.stall()
        task = loop.create_task(ws.send(["x", "y" * 100_000]))
        loop.settle()
        task.cancel()
        loop.settle()
        assert task.cancelled()
        client.read()
        assert [one.fin for one in client.frames()] == [False, True]
        assert not ws.closed

    @pytest.mark.parametrize("how", ["raises", "cancelled"])
    def test_a_message_cut_short_closes(self, loop: ManualLoop, how: str) -> None:
        async def parts() -> AsyncIterator[str]:
            yield "1"
            yield "2"
            yield "3"
            if how == "raises":
                raise ValueError("broken")
            await loop.create_future()

        client, ws, _ = collect(loop)
        task = loop.create_task(ws.send(parts()))
        loop.settle()
        task.cancel()
        loop.settle()
        assert task.cancelled() or isinstance(task.exception(), ValueError)
        *_, last = client.frames()
        assert (last.opcode, last.close_code, last.close_reason) == (CLOSE, 1011, "message cut short")


class TestCompression:
    """What a route with ``context_takeover`` sends, read by an inflater that keeps its window."""

    def open(self, loop: ManualLoop, **options: Any) -> tuple[RawClient, WebSocket, Callable[[], list[str]]]:
        settings = Compression(threshold=10, context_takeover=True)
        client, ws, _ = collect(
            loop, "Sec-WebSocket-Extensions: permessage-deflate", compression=settings, **options
        )
        window = zlib.decompressobj(-15)

        def texts() -> list[str]:
            frames = client.frames()
            assert all(one.opcode == TEXT and one.fin for one in frames)
            return [
                (window.decompress(one.payload + b"\0\0\xff\xff") if one.rsv1 else one.payload).decode()
                for one in frames
            ]

        return client, ws, texts

    def test_published_and_sent_in_one_turn(self, loop: ManualLoop) -> None:
        _, ws, texts = self.open(loop)
        hub = Hub()
        hub.subscribe(ws, "t")
        messages = [f"a message that repeats itself, {number}" for number in range(6)]
        for number, message in enumerate(messages):
            if number % 2:
                ws.send_nowait(message)
            else:
                hub.publish("t", message)
        loop.settle()
        assert texts() == messages

    def test_behind_a_slow_socket(self, loop: ManualLoop) -> None:
        client, ws, texts = self.open(loop, limits={"send_queue": 6})
        hub = Hub(policy="drop_newest")
        hub.subscribe(ws, "t")
        ws.send_nowait("a message that repeats itself")
        loop.settle()
        stall(loop, client, ws)
        messages = [f"a message that repeats itself, {number}" for number in range(6)]
        for number, message in enumerate(messages):
            if number % 2:
                assert ws.send_nowait(message) is SendStatus.QUEUED
            else:
                hub.publish("t", message)
                loop.settle()
        assert ws.send_nowait("a message that repeats itself, dropped") is SendStatus.DROPPED
        task = loop.create_task(ws.send("a message that repeats itself, forced"))
        loop.settle()
        client.read()
        loop.settle()
        ws.send_nowait("a message that repeats itself, last")
        loop.settle()
        assert task.done()
        assert texts() == [
            "a message that repeats itself",
            "stalls",
            *messages,
            "a message that repeats itself, forced",
            "a message that repeats itself, last",
        ]

    def test_overridden(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, "Sec-WebSocket-Extensions: permessage-deflate")
        ws.send_nowait("x", compress=True)
        ws.send_nowait("x" * 5000, compress=False)
        loop.run(ws.send("y" * 5000))
        loop.settle()
        assert [one.rsv1 for one in client.frames()] == [True, False, True]


class TestStreaming:
    """``fastws.streaming``; its parts are the subject of other tests."""

    def test_parts(self, loop: ManualLoop) -> None:
        parts: list[Any] = []

        async def collect_parts(ws: WebSocket) -> None:
            async for part in ws.recv_streaming():
                parts.append(part)

        client = opened(loop, fastws.streaming(collect_parts))
        client.send(frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b"))
        loop.settle()
        assert "".join(parts) == "ab"

    def test_too_large_for_recv(self, loop: ManualLoop) -> None:
        async def whole(ws: WebSocket) -> None:
            await ws.recv()

        client = opened(loop, fastws.streaming(whole), limits={"max_message_size": 10})
        client.send(frame(TEXT, "x" * 8, fin=False) + frame(CONTINUATION, "y" * 8))
        loop.settle()
        assert client.frames()[-1].close_code == 1009

    def test_callbacks(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, fastws.streaming(handler))
        client.send(frame(TEXT, "a", fin=False))
        client.send(frame(CONTINUATION, "b"))
        assert [part.final for part in handler.messages()] == [False, True]  # type: ignore[union-attr]


class TestReceiving:
    def test_callbacks_have_no_recv(self, loop: ManualLoop) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(RuntimeError, match="on_message"):
            loop.run(ws.recv())
        with pytest.raises(RuntimeError, match="on_message"):
            ws.recv_streaming()

    def test_a_full_inbox_stops_reading(self, loop: ManualLoop) -> None:
        got: list[Any] = []
        go_on = loop.create_future()

        async def later(ws: WebSocket) -> None:
            await go_on
            async for message in ws:
                got.append(message)

        client = opened(loop, later, limits={"receive_queue": 4})
        for number in range(10):
            client.text(str(number))
        assert not client.transport.is_reading()
        assert client.transport.unread
        go_on.set_result(None)
        loop.settle()
        assert client.transport.is_reading()
        assert got == [str(number) for number in range(10)]

    def test_what_came_before_the_close_is_read_after_it(self, loop: ManualLoop) -> None:
        got: list[Any] = []

        async def later(ws: WebSocket) -> None:
            await asyncio.sleep(1)
            async for message in ws:
                got.append(message)
            got.append(ws.close_code)

        client = opened(loop, later)
        client.send(frame(TEXT, "a") + frame(TEXT, "b") + frame(CLOSE, b"\x03\xe9"))
        loop.advance(2)
        assert got == ["a", "b", 1001]

    def test_streaming_a_whole_message(self, loop: ManualLoop) -> None:
        parts: list[Any] = []

        async def one(ws: WebSocket) -> None:
            async for part in ws.recv_streaming():
                parts.append(part)

        client = opened(loop, one)
        client.text("whole")
        loop.settle()
        assert parts == ["whole"]

    def test_paused_by_hand(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop)
        ws.pause_reading()
        ws.pause_reading()
        client.text("waits")
        loop.settle()
        assert handler.messages() == []
        ws.resume_reading()
        ws.resume_reading()
        loop.settle()
        assert handler.messages() == ["waits"]


class TestPings:
    def test_round_trip(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        assert ws.latency is None
        task = loop.create_task(ws.ping(b"p"))
        loop.settle()
        assert client.frames() == [(PING, b"p", True, False, False)]
        loop.advance(0.25)
        client.pong(b"other")
        loop.settle()
        assert not task.done()
        client.pong(b"p")
        loop.settle()
        assert task.result() > 0
        assert ws.latency == task.result()

    @pytest.mark.parametrize("payload", ["text", bytearray(b"x"), 5])
    def test_a_payload_is_bytes(self, loop: ManualLoop, payload: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="the payload of a ping is bytes, not"):
            loop.run(ws.ping(payload))

    def test_own_payloads(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        tasks = [loop.create_task(ws.ping()) for _ in range(3)]
        loop.settle()
        payloads = [one.payload for one in client.frames()]
        assert len(set(payloads)) == 3
        assert all(len(payload) == 4 for payload in payloads)
        for payload in payloads:
            client.pong(payload)
        loop.settle()
        assert all(task.done() for task in tasks)

    def test_the_newest_pong_answers_the_pings_before_it(self, loop: ManualLoop) -> None:
        """A peer may answer only the most recent ping (RFC 6455, section 5.5.3)."""
        client, ws, _ = collect(loop)
        tasks = [loop.create_task(ws.ping(payload)) for payload in (b"1", b"2", b"3")]
        loop.settle()
        client.pong(b"2")
        loop.settle()
        assert [task.done() for task in tasks] == [True, True, False]
        client.pong(b"1")
        client.pong(b"3")
        loop.settle()
        assert tasks[2].done()

    def test_an_empty_payload(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        client.pong(b"")
        loop.settle()
        assert ws.latency is None
        task = loop.create_task(ws.ping(b""))
        loop.settle()
        client.pong(b"")
        loop.settle()
        assert task.done()

    def test_the_pong_of_the_keep_alive_answers_too(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, timeouts={"ping_interval": 20, "ping_timeout": 20})
        loop.advance(20.1)
        client.pong(client.frames()[0].payload)
        before = loop.create_task(ws.ping(b"before"))
        loop.advance(20.1)
        after = loop.create_task(ws.ping(b"after"))
        loop.settle()
        keep_alive = client.frames()[1]
        client.pong(keep_alive.payload)
        loop.settle()
        assert (before.done(), after.done()) == (True, False)
        assert ws.latency is not None
        client.pong(b"after")
        loop.settle()
        assert after.done()

    def test_what_cannot_be_sent(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        with pytest.raises(ValueError, match="125"):
            loop.run(ws.ping(b"x" * 126))
        task = loop.create_task(ws.ping(b"twice"))
        loop.settle()
        with pytest.raises(ValueError, match="under way"):
            loop.run(ws.ping(b"twice"))
        task.cancel()
        loop.settle()
        again = loop.create_task(ws.ping(b"twice"))
        loop.settle()
        client.pong(b"twice")
        loop.settle()
        assert again.done()

    def test_cancelled_after_the_answer(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        task = loop.create_task(ws.ping(b"p"))
        loop.settle()
        client.pong(b"p")
        task.cancel()
        loop.settle()
        assert task.cancelled()
        waiting = loop.create_task(ws.ping(b"q"))
        loop.settle()
        waiting.cancel()
        client.pong(b"q")
        loop.settle()
        assert waiting.cancelled()

    def test_the_end(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        answered, waiting = loop.create_task(ws.ping(b"1")), loop.create_task(ws.ping(b"2"))
        given_up = loop.create_task(ws.ping(b"3"))
        loop.settle()
        client.pong(b"1")
        client.transport.lose()
        given_up.cancel()
        loop.settle()
        assert answered.exception() is None
        assert isinstance(waiting.exception(), ConnectionClosedError)
        with pytest.raises(ConnectionClosedError):
            loop.run(ws.ping())


class TestClosing:
    def test_both_sides(self, loop: ManualLoop) -> None:
        pair = Pair(loop, Recorder(), client={"timeouts": NO_PINGS}, **QUIET)
        assert (pair.ws.close_code, pair.ws.close_reason, pair.ws.closed) == (None, None, False)
        loop.run(pair.ws.close(4001, "bye"))
        assert (pair.ws.close_code, pair.ws.close_reason, pair.ws.closed) == (4001, "bye", True)
        loop.run(pair.ws.close())
        assert pair.ws.close_code == 4001
        assert pair.client.lost
        assert pair.server.lost

    def test_what_was_accepted_goes_first(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        ws.send_nowait("accepted")
        ws.close_nowait(1000, "bye")
        loop.settle()
        client.read()
        assert [one.payload for one in client.frames()] == [b"stalls", b"accepted", b"\x03\xe8bye"]

    @pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1000, "x" * 124), (999, "")])
    def test_what_may_not_be_sent(self, loop: ManualLoop, code: int, reason: str) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(ValueError, match="close"):
            ws.close_nowait(code, reason)
        assert not ws.closed

    @pytest.mark.parametrize(("code", "reason"), [("1000", ""), (1000, None), (4000.0, ""), (None, "")])
    def test_what_is_neither_code_nor_reason(self, loop: ManualLoop, code: Any, reason: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="a close has a code"):
            loop.run(ws.close(code, reason))
        assert not ws.closed

    def test_a_code_and_a_reason_of_an_enumeration(self, loop: ManualLoop) -> None:
        class Why(enum.StrEnum):
            DONE = "done"

        _, ws, _ = collect(loop)
        ws.close_nowait(enum.IntEnum("Code", {"OWN": 4000}).OWN, Why.DONE)  # type: ignore[attr-defined]
        assert (ws.close_code, ws.close_reason) == (4000, "done")

    def test_waiting_may_be_cancelled(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        waiting = [loop.create_task(ws.wait_closed()) for _ in range(2)]
        loop.settle()
        waiting[0].cancel()
        client.close()
        loop.settle()
        assert waiting[0].cancelled()
        assert waiting[1].done()


class TestAttributes:
    def test_server_side(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, "Cookie: a=b")
        assert ws.request is not None
        assert (ws.request.path, ws.request.cookies, ws.response) == ("/", {"a": "b"}, None)
        assert ws.subprotocol is None
        assert ws.peer == ("192.0.2.1", 50000)
        assert repr(ws) == "<WebSocket / OPEN>"
        ws.request.path = "/a\n21:00:00 info \x1b[31m\u202e"
        assert repr(ws) == r"<WebSocket /a\n21:00:00 info \x1b[31m\u202e OPEN>"
        ws.request.path = "/"
        ws.state["user"] = 7
        assert ws.state == {"user": 7}
        client.close()
        loop.settle()
        assert repr(ws) == "<WebSocket / CLOSED>"

    def test_client_side(self, loop: ManualLoop) -> None:
        pair = Pair(loop, Recorder(), **QUIET)
        assert pair.ws.request is None
        assert pair.ws.response is not None
        assert pair.ws.response.status == 101
        assert repr(pair.ws) == "<WebSocket client OPEN>"
        pair.shutdown()
