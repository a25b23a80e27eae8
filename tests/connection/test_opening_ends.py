"""An ``async def on_open`` that fails, or whose connection ends meanwhile; and a client's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastws
from fastws import WebSocket
from fastws.testing.wire import CLOSE
from tests.connection.opens import Opens, finish, greet
from tests.kit import ManualLoop, RawClient, Recorder, handshake
from tests.kit.served import Panic, opened, served


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
