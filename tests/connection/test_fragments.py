"""Messages that are sent in parts, and what waits for the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastws import (
    Limits,
    SendStatus,
)
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, CLOSE, CONTINUATION, PONG, TEXT
from tests.kit import ManualLoop
from tests.kit.served import collect, stall


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
