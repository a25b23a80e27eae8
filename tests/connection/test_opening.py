"""An ``async def on_open``: what comes meanwhile waits for it, however it ends."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import fastws
from fastws import Route, Server, WebSocket
from fastws.connection.opening import WAITING_BYTES
from fastws.testing.wire import BINARY, CLOSE, PING, PONG, TEXT
from tests.client.loops import both_loops
from tests.kit import ManualLoop, RawClient, Recorder, frame, handshake


class Panic(BaseException):
    """As the exceptions of some native modules are."""


class Opens(Recorder):
    """Its ``on_open`` waits until the test lets it go on, and then does what the test says."""

    def __init__(self, then: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.then = then
        self.go_on = asyncio.Event()

    async def on_open(self, ws: WebSocket) -> None:  # type: ignore[override]
        self.sockets.append(ws)
        self.events.append(("open",))
        try:
            await self.go_on.wait()
            if self.then is not None:
                await self.then(ws)
        except BaseException as exc:
            self.events.append((type(exc).__name__,))
            raise
        self.events.append(("opened",))


def served(loop: ManualLoop, handler: Any, **settings: Any) -> Server:
    async def start() -> Server:
        defaults: dict[str, Any] = {"access_log": False, "timeouts": {"ping_interval": None}}
        return await fastws.serve([Route("/", handler)], **{**defaults, **settings})

    return loop.run(start())


def opened(loop: ManualLoop, handler: Any, *, early: bytes = b"", **settings: Any) -> RawClient:
    client = RawClient(served(loop, handler, **settings), loop)
    assert client.upgrade(early=early).status == 101
    return client


def finish(loop: ManualLoop, handler: Opens) -> None:
    handler.go_on.set()
    loop.settle()


async def greet(ws: WebSocket) -> None:
    await ws.send("welcome")


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


class TestFailures:
    @pytest.mark.parametrize("is_lost", [False, True], ids=["closed", "lost"])
    @pytest.mark.parametrize("kind", [ValueError, Panic, asyncio.CancelledError, fastws.ConnectionClosedOK])
    def test_one_traceback_and_1011_and_no_more_calls(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, kind: type[BaseException], is_lost: bool
    ) -> None:
        async def fail(ws: WebSocket) -> None:
            # ConnectionClosed of another WebSocket is a failure as any other.
            raise kind(1000) if kind is fastws.ConnectionClosedOK else kind("broken")

        handler = Opens(fail)
        client = opened(loop, handler)
        client.text("a")
        finish(loop, handler)
        client.text("b")
        loop.settle()
        (last,) = client.frames()
        assert (last.opcode, last.close_code, last.close_reason) == (CLOSE, 1011, "internal error")
        if is_lost:
            client.transport.feed_eof()
        else:
            client.close(1011)
        loop.settle()
        assert handler.events == [("open",), (kind.__name__,)]
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [kind]
        assert client.transport.lost
        assert asyncio.all_tasks(loop) == set()

    def test_no_traceback_for_a_client_that_left(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def twice(ws: WebSocket) -> None:
            await ws.send("to nobody")

        handler = Opens(twice)
        client = opened(loop, handler)
        client.close()
        handler.go_on.set()
        loop.settle()
        assert handler.events == [("open",), ("ConnectionClosedOK",), ("close", 1000, "")]
        assert caplog.records == []

    @pytest.mark.parametrize("is_early", [False, True], ids=["later", "before it begins"])
    def test_cancelled_by_the_application(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, is_early: bool
    ) -> None:
        handler = Opens()
        server = served(loop, handler)
        client = RawClient(server, loop)
        if is_early:
            client.send(handshake("/"))
            (task,) = asyncio.all_tasks(loop)
            task.cancel()
            loop.settle()
            assert client.response().status == 101
        else:
            client.upgrade()
            (task,) = asyncio.all_tasks(loop)
            task.cancel()
            loop.settle()
        assert [one.close_code for one in client.frames()] == [1011]
        client.close(1011)
        loop.settle()
        assert handler.events == ([] if is_early else [("open",), ("CancelledError",)])
        assert caplog.records == []
        assert asyncio.all_tasks(loop) == set()


class TestEnds:
    @pytest.mark.parametrize("how", ["close", "tcp", "reset"])
    def test_it_is_cancelled_when_the_client_leaves(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        handler = Opens()
        client = opened(loop, handler)
        if how == "close":
            client.close(4000, "bye")
        elif how == "tcp":
            client.transport.feed_eof()
        else:
            client.transport.lose(ConnectionResetError())
        loop.settle()
        end = (4000, "bye") if how == "close" else (1006, "")
        assert handler.events == [("open",), ("CancelledError",), ("close", *end)]
        assert asyncio.all_tasks(loop) == set()
        assert caplog.records == []

    @pytest.mark.parametrize("how", ["close", "tcp"])
    def test_messages_of_a_client_that_left_are_not_lost(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        handler = Opens(echo=True)
        client = opened(loop, handler)
        client.text("a")
        client.text("b")
        client.close() if how == "close" else client.transport.feed_eof()
        loop.settle()
        assert client.transport.lost
        assert handler.events == [("open",)]
        finish(loop, handler)
        told = [("opened",), ("message", "a"), ("message", "b")]
        assert handler.events[1:] == [*told, ("close", *((1000, "") if how == "close" else (1006, "")))]
        assert caplog.records == []

    @pytest.mark.parametrize("kind", [ValueError, Panic])
    @pytest.mark.parametrize("name", ["on_message", "on_close"])
    def test_a_callback_that_fails_after_the_end(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, name: str, kind: type[BaseException]
    ) -> None:
        class Broken(Opens):
            def fail(self, *args: Any) -> None:
                self.events.append((name,))
                raise kind("broken")

        handler = Broken()
        setattr(handler, name, handler.fail)
        client = opened(loop, handler)
        client.text("a")
        client.close()
        finish(loop, handler)
        ends = (
            [("on_message",), ("close", 1000, "")]
            if name == "on_message"
            else [("message", "a"), ("on_close",)]
        )
        assert handler.events == [("open",), ("opened",), *ends]
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{name} of <WebSocket / CLOSED> failed")

    def test_it_closes(self, loop: ManualLoop) -> None:
        async def refuse(ws: WebSocket) -> None:
            await ws.close(4401, "who are you")
            handler.events.append(("closed",))

        handler = Opens(refuse)
        client = opened(loop, handler)
        client.text("a")
        finish(loop, handler)
        assert [one.close_code for one in client.frames()] == [4401]
        client.text("b")
        client.close(4401)
        loop.settle()
        assert handler.events == [("open",), ("closed",), ("opened",), ("close", 4401, "who are you")]
        assert asyncio.all_tasks(loop) == set()

    def test_it_closes_and_returns(self, loop: ManualLoop) -> None:
        async def refuse(ws: WebSocket) -> None:
            ws.close_nowait(4401)

        handler = Opens(refuse)
        client = opened(loop, handler)
        client.text("a")
        finish(loop, handler)
        client.close(4401)
        loop.settle()
        assert handler.events == [("open",), ("opened",), ("close", 4401, "")]

    def test_one_that_does_not_let_itself_be_cancelled(self, loop: ManualLoop) -> None:
        async def stay(ws: WebSocket) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(5)

        handler = Opens(stay)
        client = opened(loop, handler)
        finish(loop, handler)
        client.close()
        loop.settle()
        assert handler.events == [("open",)]
        loop.advance(5)
        assert handler.events == [("open",), ("opened",), ("close", 1000, "")]

    @pytest.mark.parametrize("answers", [True, False])
    def test_the_server_stops(self, loop: ManualLoop, answers: bool) -> None:
        handler = Opens()
        server = served(loop, handler)
        client = RawClient(server, loop)
        client.upgrade()
        client.text("waits")
        stopping = loop.create_task(server.shutdown(2))
        loop.settle()
        assert [one.close_code for one in client.frames()] == [1001]
        if answers:
            client.close(1001)
            loop.settle()
            assert stopping.done()
        loop.advance(4)
        assert stopping.done()
        assert handler.events == [("open",), ("CancelledError",), ("close", 1001, "going away")]
        assert asyncio.all_tasks(loop) == set()

    def test_a_client_too_slow(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        handler = Opens()
        client = opened(loop, handler, limits={"send_queue": 2})
        hub.subscribe(handler.ws, "room")
        client.stall(1)
        for _ in range(5):
            hub.publish("room", "news")
            loop.settle()
        client.read()
        client.transport.feed_eof()
        loop.settle()
        assert handler.events[:2] == [("open",), ("CancelledError",)]
        assert [code for code, _ in handler.closes()] == [1008]


class TestClient:
    def test_connect(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            handler = Opens()

            async def greeting(ws: WebSocket) -> None:
                await ws.send("hello")
                await ws.send("again")
                async for _ in ws:
                    """Until the client closes."""

            async with fastws.serve(greeting) as server:
                async with fastws.connect(f"ws://server:{server.port}/", handler=handler, proxy=None):
                    for _ in range(20):
                        await asyncio.sleep(0)
                    assert handler.events == [("open",)]
                    handler.go_on.set()
                    for _ in range(20):
                        await asyncio.sleep(0)
                    assert handler.messages() == ["hello", "again"]
                assert handler.events[-1] == ("close", 1000, "")

        loop.run(scenario())

    def test_a_block_that_is_left_before_its_end(self, loop: ManualLoop) -> None:
        handler = Opens()

        async def scenario() -> None:
            async with fastws.serve(Recorder()) as server:
                async with fastws.connect(f"ws://server:{server.port}/", handler=handler, proxy=None):
                    for _ in range(20):
                        await asyncio.sleep(0)
                assert handler.events == [("open",), ("CancelledError",), ("close", 1000, "")]

        loop.run(scenario())
        assert asyncio.all_tasks(loop) == set()

    async def test_pair(self) -> None:
        handler = Opens(greet, echo=True)
        handler.go_on.set()
        async with fastws.testing.pair(handler) as ws:
            await ws.send("a")
            assert [await ws.recv(), await ws.recv()] == ["welcome", "a"]


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
