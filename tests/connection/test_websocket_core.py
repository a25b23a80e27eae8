"""Sending: verdicts, waiting for the socket, and compression."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest

import fastws
from fastws import (
    Compression,
    ConnectionClosedError,
    ConnectionClosedOK,
    SendStatus,
    WebSocket,
)
from fastws.connection.websocket_core import HIGH_WATER_BYTES
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, TEXT
from tests.kit import Kernel, ManualLoop, RawClient, Recorder, frame
from tests.kit.served import collect, opened, stall


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

    @pytest.mark.parametrize(("size", "count"), [(10, 20_000), (100_000, 10)])
    def test_a_loop_of_sends_lets_the_turn_end(self, loop: ManualLoop, size: int, count: int) -> None:
        """Else all of it would be held before the socket could refuse any, and others would wait."""
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
