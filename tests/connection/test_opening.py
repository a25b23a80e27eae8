"""An ``async def on_open``: what comes meanwhile waits for it, however it ends."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import fastws
from fastws import WebSocket
from fastws.connection.opening import WAITING_BYTES
from fastws.testing.wire import BINARY, CLOSE, PING, PONG, TEXT
from tests.client.loops import both_loops
from tests.connection.opens import Opens, finish, greet
from tests.kit import ManualLoop, Recorder, frame
from tests.kit.served import opened


class TestWhatWaits:
    def test_messages_come_behind_it_in_their_order(self, loop: ManualLoop) -> None:
        handler = Opens(greet, echo=True)
        client = opened(loop, handler, early=frame(TEXT, "early"))
        client.text("a")
        client.binary(b"b")
        loop.settle()
        assert handler.events == [("open",)]
        finish(loop, handler)
        client.text("c")
        loop.settle()
        told = [("open",), ("opened",), *(("message", each) for each in ("early", "a", b"b", "c"))]
        assert handler.events == told
        assert [one.payload for one in client.frames()] == [b"welcome", b"early", b"a", b"b", b"c"]
        client.close()
        loop.settle()
        assert handler.events == [*told, ("close", 1000, "")]
        assert asyncio.all_tasks(loop) == set()

    def test_one_that_waits_for_nothing(self, loop: ManualLoop) -> None:
        handler = Opens(echo=True)
        handler.go_on.set()
        client = opened(loop, handler, early=frame(TEXT, "early"))
        assert client.texts() == ["early"]

    @pytest.mark.live
    @pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="came with Python 3.12")
    def test_an_eager_task_is_nothing_else(self) -> None:
        async def scenario() -> list[str | bytes]:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            handler = Opens(greet, echo=True)
            handler.go_on.set()
            async with (
                fastws.serve(handler, "127.0.0.1", access_log=False) as server,
                fastws.connect(f"ws://127.0.0.1:{server.port}") as ws,
            ):
                await ws.send("a")
                return [await ws.recv(), await ws.recv()]

        assert asyncio.run(scenario()) == ["welcome", "a"]

    def test_messages_are_counted_once(self, loop: ManualLoop) -> None:
        handler = Opens()
        client = opened(loop, handler)
        for _ in range(3):
            client.text("x")
        finish(loop, handler)
        client.text("x")
        assert handler.ws.outbox.is_open
        assert client.connection.received_messages == 4

    def test_parts_of_messages_wait_too(self, loop: ManualLoop) -> None:
        handler = Opens()
        early = frame(TEXT, "one ", fin=False)
        client = opened(loop, fastws.streaming(handler), early=early)
        client.send(frame(0, "two"))
        loop.settle()
        assert handler.events == [("open",)]
        finish(loop, handler)
        assert handler.messages() == [fastws.Fragment("one ", False), fastws.Fragment("two", True)]
        assert client.connection.received_messages == 1

    def test_pings_are_answered_meanwhile(self, loop: ManualLoop) -> None:
        handler = Opens()
        client = opened(loop, handler)
        client.text("a")
        client.ping(b"are you there")
        loop.settle()
        assert [(one.opcode, one.payload) for one in client.frames()] == [(PONG, b"are you there")]
        finish(loop, handler)
        assert handler.messages() == ["a"]

    def test_it_may_ping(self, loop: ManualLoop) -> None:
        async def ping(ws: WebSocket) -> None:
            await ws.ping(b"there")

        handler = Opens(ping)
        client = opened(loop, handler)
        client.text("a")
        finish(loop, handler)
        assert [(one.opcode, one.payload) for one in client.frames()] == [(PING, b"there")]
        assert handler.messages() == []
        client.pong(b"there")
        loop.settle()
        assert handler.messages() == ["a"]

    @pytest.mark.parametrize(
        ("count", "size", "waiting"), [(100, 1, 4), (100, WAITING_BYTES // 2, 2)], ids=["messages", "bytes"]
    )
    def test_no_more_than_the_limits_is_read(
        self, loop: ManualLoop, count: int, size: int, waiting: int
    ) -> None:
        handler = Opens()
        client = opened(loop, handler, limits={"receive_queue": 4})
        for number in range(count):
            client.send(frame(BINARY, bytes([number]) * size))
        loop.settle()
        assert not client.transport.is_reading()
        assert client.connection.received_messages == waiting
        finish(loop, handler)
        assert client.transport.is_reading()
        assert handler.messages() == [bytes([number]) * size for number in range(count)]

    def test_many_in_one_read(self, loop: ManualLoop) -> None:
        handler = Opens(echo=True)
        client = opened(loop, handler, limits={"receive_queue": 4})
        client.send(b"".join(frame(TEXT, str(number)) for number in range(3000)) + frame(CLOSE, b"\x03\xe8"))
        finish(loop, handler)
        assert handler.messages() == [str(number) for number in range(3000)]
        assert handler.closes() == [(1000, "")]
        assert len(client.frames()) == 3001

    def test_it_may_pause_reading_itself(self, loop: ManualLoop) -> None:
        async def pause(ws: WebSocket) -> None:
            ws.pause_reading()

        handler = Opens(pause)
        client = opened(loop, handler)
        client.text("a")
        finish(loop, handler)
        client.text("b")
        assert handler.messages() == []
        handler.ws.resume_reading()
        loop.settle()
        assert handler.messages() == ["a", "b"]

    def test_on_writable_waits(self, loop: ManualLoop) -> None:
        handler = Opens()
        client = opened(loop, handler)
        client.stall(1)
        assert handler.ws.send_nowait("stalls") is fastws.SendStatus.SENT
        loop.settle()
        client.read()
        loop.settle()
        assert handler.events == [("open",)]
        finish(loop, handler)
        assert handler.events == [("open",), ("opened",), ("writable",)]

    def test_a_gap_is_told_behind_it(self, loop: ManualLoop) -> None:
        class Listens(Opens):
            def on_gap(self, ws: WebSocket, topic: str, missed: int, reason: str) -> None:
                self.events.append(("gap", topic, missed, reason))

        handler = Listens()
        client = opened(loop, handler)
        client.text("a")
        handler.ws.tell_gap("prices", 3, "bus")
        finish(loop, handler)
        assert handler.events[1:] == [("opened",), ("gap", "prices", 3, "bus"), ("message", "a")]

    def test_where_a_topic_begins_is_told_behind_it_in_order(self, loop: ManualLoop) -> None:
        class Listens(Opens):
            def on_gap(self, ws: WebSocket, topic: str, missed: int | None, reason: str) -> None:
                self.events.append(("gap", missed))

            def on_sync(self, ws: WebSocket, synced: object) -> None:
                self.events.append(("sync", synced))

        handler = Listens()
        opened(loop, handler)
        assert handler.ws.tell_sync("one")
        handler.ws.tell_gap("prices", 3, "bus")
        handler.ws.tell_sync("two")
        finish(loop, handler)
        assert handler.events[1:] == [("opened",), ("sync", "one"), ("gap", 3), ("sync", "two")]

    def test_it_may_subscribe(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()

        async def subscribe(ws: WebSocket) -> None:
            hub.subscribe(ws, "room")

        handler = Opens(subscribe)
        client = opened(loop, handler)
        finish(loop, handler)
        assert hub.publish("room", "news") == 1
        loop.settle()
        assert client.texts() == ["news"]


@pytest.mark.live
@both_loops
async def test_over_sockets() -> None:
    heard: dict[str, list[str | bytes]] = {}
    may_open = asyncio.Event()

    class Named(fastws.Handler):
        async def on_open(self, ws: WebSocket) -> None:
            await may_open.wait()
            ws.state.name = ws.request.path if ws.request else ""
            await ws.send("welcome")

        def on_message(self, ws: WebSocket, message: str | bytes) -> None:
            heard.setdefault(ws.state.name, []).append(message)
            if message == "last":
                ws.close_nowait(4000)

    async def talk(port: int, name: str) -> None:
        async with fastws.connect(f"ws://127.0.0.1:{port}{name}") as ws:
            for number in range(500):
                await ws.send(f"{number}")
            await ws.send("last")
            may_open.set()
            assert await ws.recv() == "welcome"
            await ws.wait_closed()
            assert ws.close_code == 4000

    async with fastws.serve(Named(), "127.0.0.1", access_log=False) as server:
        await asyncio.gather(*(talk(server.port, f"/{number}") for number in range(8)))
    assert heard == {f"/{number}": [*map(str, range(500)), "last"] for number in range(8)}


@both_loops
@pytest.mark.live
@pytest.mark.parametrize("streaming", [False, True])
async def test_connect_cancelled_in_the_turn_in_which_it_opens(streaming: bool) -> None:
    events: list[str] = []

    class Cancelling(fastws.Handler):
        async def on_open(self, ws: WebSocket) -> None:
            connecting.cancel()
            events.append("begun")
            try:
                await asyncio.sleep(3600)
            finally:
                events.append("ended")

        def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
            events.append("closed")

    async def opening(url: str) -> WebSocket:
        return await fastws.connect(url, handler=Cancelling(), streaming=streaming)

    async with fastws.serve(Recorder(), "127.0.0.1", access_log=False) as server:
        connecting = asyncio.ensure_future(opening(f"ws://127.0.0.1:{server.port}/"))
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert events == ["begun", "ended", "closed"]


def test_a_decorated_one(loop: ManualLoop) -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    class Traced(Opens):
        on_open = traced(Opens.on_open)

    handler = Traced()
    client = opened(loop, handler)
    client.text("a")
    finish(loop, handler)
    assert handler.events == [("open",), ("opened",), ("message", "a")]


def test_one_that_a_decorator_has_made_a_task_of(loop: ManualLoop) -> None:
    tasks: list[Any] = []

    def beside(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> None:
            tasks.append(asyncio.ensure_future(function(*args)))

        return wrapper

    class Beside(Opens):
        on_open = beside(Opens.on_open)

    handler = Beside()
    client = opened(loop, handler)
    client.text("a")
    loop.settle()
    assert handler.events == [("open",), ("message", "a")]
    finish(loop, handler)
