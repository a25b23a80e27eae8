"""A connection before and after its WebSocket: the phases, failing handlers, losses, counts."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from typing import Any

import pytest

import fastws
from fastws import Route, Server, WebSocket
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, PING, TEXT
from tests.kit import ManualLoop, Pair, RawClient, Recorder, frame, handshake
from tests.kit.served import NO_PINGS, Panic, opened, served, stall


class TestPhases:
    """Before the WebSocket is open, everything goes to the phase."""

    def site(self, loop: ManualLoop, authorize: Any = None) -> RawClient:
        async def start() -> Server:
            page = Route("/page", http=lambda request: fastws.Response(200, "x" * 1000))
            upgrade = Route("/", Recorder(), authorize=authorize)
            return await fastws.serve([page, upgrade], access_log=False)

        return RawClient(loop.run(start()), loop)

    def test_the_end_of_tcp(self, loop: ManualLoop) -> None:
        for end in ("eof", "loss"):
            client = self.site(loop)
            client.send(b"GET /page HT")
            if end == "eof":
                client.transport.feed_eof()
            else:
                client.transport.lose()
            loop.settle()
            assert client.transport.lost
        assert loop.timers == []

    def test_back_pressure(self, loop: ManualLoop) -> None:
        client = self.site(loop)
        client.stall(10)
        client.get("/page")
        client.get("/page")
        loop.settle()
        assert client.transport.unread
        client.read()
        loop.settle()
        assert len(client.responses()) == 2

    def test_the_last_answer_takes_its_time(self, loop: ManualLoop) -> None:
        client = self.site(loop)
        client.stall(10)
        client.get("/page", "Connection: close")
        loop.settle()
        assert not client.transport.eof_written
        client.read()
        loop.settle()
        assert client.response().status == 200
        assert client.transport.eof_written

    def test_a_deadline(self, loop: ManualLoop) -> None:
        client = self.site(loop)
        client.send(b"GET /page HT")
        loop.advance(10.1)
        assert client.response().status == 408
        loop.advance(5.2)
        assert client.transport.aborted

    def test_refused_while_input_is_held(self, loop: ManualLoop) -> None:
        async def never(request: fastws.Request) -> None:
            await loop.create_future()

        client = self.site(loop, never)
        client.send(handshake())
        for _ in range(20):
            client.send(b"x" * 10_000)
        assert not client.transport.is_reading()
        loop.advance(10.2)
        assert client.response().status == 503
        loop.settle()
        assert client.transport.unread == 0
        client.transport.feed_eof()
        loop.settle()
        assert client.transport.lost


#: What a callback of the application may raise.
KINDS = [ValueError, Panic, asyncio.CancelledError]


class TestFailingHandlers:
    """An exception closes that connection with 1011, no other, and stands in the log once."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["on_open", "on_message", "on_writable"])
    def test_1011(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, name: str, kind: type[BaseException]
    ) -> None:
        class Broken(Recorder):
            def fail(self, *args: Any) -> None:
                if getattr(self, "armed", False):
                    raise kind("broken")

        handler = Broken()
        setattr(handler, name, handler.fail)
        server = served(loop, handler)
        other, client = RawClient(server, loop), RawClient(server, loop)
        other.upgrade()
        if name != "on_open":
            client.upgrade()
        handler.armed = True  # type: ignore[attr-defined]
        if name == "on_open":
            client.upgrade()
        elif name == "on_message":
            client.send(frame(TEXT, "a") + frame(TEXT, "b"))
        else:
            stall(loop, client, client.connection.ws)
            client.read()
        loop.settle()
        last = client.frames()[-1]
        assert (last.opcode, last.close_code, last.close_reason) == (CLOSE, 1011, "internal error")
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [kind]
        client.close(1011)
        loop.settle()
        # on_close is not called for a WebSocket whose on_open has failed.
        assert handler.closes() == ([] if name == "on_open" else [(1011, "internal error")])
        assert server.counters.websockets_closed == 1
        assert other.frames() == []
        assert not other.transport.lost

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("is_lost", [False, True], ids=["closed", "lost"])
    def test_nothing_is_called_after_a_failed_on_open(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, kind: type[BaseException], is_lost: bool
    ) -> None:
        calls: list[str] = []

        class Broken(fastws.Handler):
            def on_open(self, ws: WebSocket) -> None:
                calls.append("on_open")
                raise kind("broken")

            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                calls.append("on_message")

            def on_writable(self, ws: WebSocket) -> None:
                calls.append("on_writable")

            def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
                calls.append("on_close")
                raise kind("what on_open was to prepare is missing")

        client = RawClient(served(loop, Broken()), loop)
        client.upgrade(early=frame(TEXT, "early"))
        loop.settle()
        if is_lost:
            client.transport.feed_eof()
        else:
            client.close(1011)
        loop.settle()
        assert calls == ["on_open"]
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [kind]

    @pytest.mark.parametrize("kind", KINDS)
    def test_on_close(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
    ) -> None:
        class Broken(Recorder):
            def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
                super().on_close(ws, code, reason)
                raise kind("broken")

        handler = Broken()
        client = opened(loop, handler)
        client.close()
        loop.settle()
        assert handler.closes() == [(1000, "")]
        assert "on_close of" in caplog.text
        assert client.transport.lost

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_coroutine(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
    ) -> None:
        async def handler(ws: WebSocket) -> None:
            await ws.recv()
            raise kind("broken")

        client = opened(loop, handler)
        client.text("x")
        loop.settle()
        assert client.frames()[-1].close_code == 1011
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [kind]

    def test_what_was_said_before_goes_first(self, loop: ManualLoop) -> None:
        class Broken(Recorder):
            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                ws.send_nowait("last words")
                raise ValueError("broken")

        client = opened(loop, Broken())
        client.text("x")
        loop.settle()
        assert [one.opcode for one in client.frames()] == [TEXT, CLOSE]


class TestLosses:
    @pytest.mark.parametrize("how", ["eof", "reset"])
    def test_1006(self, loop: ManualLoop, how: str) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.send(frame(TEXT, "half a message")[:-3])
        if how == "eof":
            client.transport.feed_eof()
        else:
            client.transport.lose()
        loop.settle()
        assert handler.events == [("open",), ("close", 1006, "")]
        assert loop.timers == []

    def test_topics_are_left_when_the_close_begins(self, loop: ManualLoop) -> None:
        hub = Hub()

        class Listener(Recorder):
            def on_open(self, ws: WebSocket) -> None:
                super().on_open(ws)
                hub.subscribe(ws, "t")

        server = served(loop, Listener())
        clients = [RawClient(server, loop) for _ in range(5)]
        for client in clients:
            client.upgrade()
        peer_closes, we_close, eof, violation, evicted = clients
        assert hub.count("t") == 5
        peer_closes.close()
        assert hub.count("t") == 4
        we_close.connection.close()
        assert hub.count("t") == 3
        eof.transport.feed_eof()
        assert hub.count("t") == 2
        violation.send(b"\x83\x80abcd")
        assert hub.count("t") == 1
        evicted.connection.evict("too slow")
        assert hub.count("t") == 0
        loop.settle()

    def test_published_before_the_close_in_one_turn(self, loop: ManualLoop) -> None:
        hub, handler = Hub(), Recorder()
        client = opened(loop, handler)
        hub.subscribe(handler.ws, "t")
        hub.publish("t", "last")
        handler.ws.close_nowait()
        loop.settle()
        assert [one.opcode for one in client.frames()] == [TEXT, CLOSE]


class TestCounts:
    def test_messages_and_bytes(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        handler = Recorder(echo=True)
        early = frame(TEXT, "early")
        with caplog.at_level(logging.INFO, "fastws.access"):
            client = opened(loop, handler, early=early, access_log=True)
            client.text("hello")
            client.ping(b"p")
            client.close()
            loop.settle()
        (line,) = [record.getMessage() for record in caplog.records if record.name == "fastws.access"]
        received = len(early + frame(TEXT, "hello") + frame(PING, b"p") + frame(CLOSE, b"\x03\xe8"))
        sent = sum(2 + size for size in (5, 5, 1))
        assert f"in 2 messages {received} bytes, out 2 messages {sent} bytes" in line


class TestWaiting:
    def test_for_the_end(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        connection = client.connection
        waiting = [loop.create_task(connection.wait_lost()) for _ in range(2)]
        loop.settle()
        assert not any(task.done() for task in waiting)
        client.transport.lose()
        loop.settle()
        assert all(task.done() for task in waiting)
        loop.run(connection.wait_lost())

    def test_cancelled_and_alone(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder())
        task = loop.create_task(client.connection.wait_lost())
        loop.settle()
        task.cancel()
        client.transport.lose()
        loop.settle()
        assert task.cancelled()


class TestBroadcasts:
    def test_what_only_this_peer_can_read(self, loop: ManualLoop) -> None:
        """A client's frames are masked, each with a key of its own."""
        handler = Recorder()
        pair = Pair(loop, handler, timeouts=NO_PINGS, client={"timeouts": NO_PINGS})
        hub = Hub()
        hub.subscribe(pair.ws, "t")
        hub.publish("t", "from a client")
        loop.settle()
        assert handler.messages() == ["from a client"]
        pair.shutdown()

    def test_on_writable_once_all_has_left(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("x" * 100)
        client.read(50)
        assert handler.events == [("open",)]
        client.read()
        assert handler.events == [("open",), ("writable",)]


class IsResetWhenWritable(Recorder):
    def on_open(self, ws: WebSocket) -> None:
        super().on_open(ws)
        ws.send_nowait(bytes(16 << 20))

    def on_writable(self, ws: WebSocket) -> None:
        super().on_writable(ws)
        ws.outbox.wrote(-errno.ECONNRESET, b"as a write does that finds the connection reset")


def test_asyncio_ends_a_transport_once_that_is_reset_when_it_has_drained() -> None:
    handler = IsResetWhenWritable()
    errors: list[dict[str, Any]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with fastws.serve(handler, "127.0.0.1", port=0, access_log=False) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(handshake())
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 20):
                    pass
            writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert ("writable",) in handler.events
    assert not errors
