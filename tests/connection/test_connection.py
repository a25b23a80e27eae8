"""One connection from its first byte to its end: reads, holds, failures, closes, and its times."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from typing import Any

import pytest

import fastws
from fastws import Route, SendStatus, Server, WebSocket
from fastws.connection.delivery import EVENTS_PER_TURN
from fastws.connection.lifetime import PONG_GRACE_SECONDS
from fastws.loop.state import READ_BUFFER_BYTES
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, CLOSE, PING, PONG, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop, Network, Pair, RawClient, Recorder, frame, handshake

NO_PINGS = {"ping_interval": None}


def served(loop: ManualLoop, handler: Any, **settings: Any) -> Server:
    async def start() -> Server:
        return await fastws.serve(
            [Route("/", handler)], **{"access_log": False, "timeouts": NO_PINGS, **settings}
        )

    return loop.run(start())


def opened(
    loop: ManualLoop, handler: Any, *, early: bytes = b"", ssl_object: Any = None, **settings: Any
) -> RawClient:
    client = RawClient(served(loop, handler, **settings), loop, ssl_object=ssl_object)
    assert client.upgrade(early=early).status == 101
    return client


def stall(loop: ManualLoop, client: RawClient, ws: WebSocket) -> None:
    """Let the socket refuse: one message is written of which it takes one byte."""
    client.stall(1)
    ws.send_nowait("stalls")
    loop.settle()
    assert ws.outbox.blocked


class Scripted(Recorder):
    """Does what the text of a message says."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        super().on_message(ws, message)
        if message == "raise":
            raise ValueError("broken")
        if message == "close":
            ws.close_nowait(4000, "as told")
        if message == "pause":
            ws.pause_reading()


class TestReads:
    def test_one_write_at_the_end_of_a_turn(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(echo=True))
        writes = len(client.transport.writes)
        client.send(frame(TEXT, "a") + frame(PING, b"p"))
        client.send(frame(BINARY, b"b"))
        loop.turn()
        assert len(client.transport.writes) == writes + 1
        assert [(one.opcode, one.payload) for one in client.frames()] == [
            (TEXT, b"a"),
            (PONG, b"p"),
            (BINARY, b"b"),
        ]

    def test_byte_by_byte(self, loop: ManualLoop) -> None:
        handler = Recorder(echo=True)
        client = opened(loop, handler)
        for byte in frame(TEXT, "hello") + frame(BINARY, b"x" * 300):
            client.send(bytes([byte]))
        assert handler.messages() == ["hello", b"x" * 300]
        loop.settle()
        assert [one.payload for one in client.frames()] == [b"hello", b"x" * 300]

    def test_the_end_of_tcp_right_behind_a_message_loses_no_answer(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(echo=True))
        client.text("last words")
        client.transport.feed_eof()
        assert client.texts() == ["last words"]
        loop.settle()

    def test_early_frames_come_behind_on_open_in_the_same_write(self, loop: ManualLoop) -> None:
        class Greeting(Recorder):
            def on_open(self, ws: WebSocket) -> None:
                super().on_open(ws)
                ws.send_nowait("welcome")

        handler = Greeting(echo=True)
        client = opened(loop, handler, early=frame(TEXT, "early"))
        assert len(client.transport.writes) == 1
        assert client.texts() == ["welcome", "early"]
        assert handler.events == [("open",), ("message", "early")]
        client.close()
        loop.settle()

    def test_a_flood_of_small_frames_lets_others_have_their_turn(self, loop: ManualLoop) -> None:
        handler = Recorder()
        flood = opened(loop, handler)
        flood.send(frame(TEXT, "x", mask=b"\0\0\0\0") * (2 * EVENTS_PER_TURN + 1))
        assert len(handler.messages()) <= EVENTS_PER_TURN
        assert not flood.transport.is_reading()
        flood.ping(b"behind")
        turns = 0
        while not flood.transport.is_reading():
            loop.turn()
            turns += 1
        loop.settle()
        assert turns >= 2
        assert len(handler.messages()) == 2 * EVENTS_PER_TURN + 1
        assert [one.opcode for one in flood.frames()] == [PONG]

    def test_a_flood_of_bytes_too(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        message = b"x" * (READ_BUFFER_BYTES * 2)
        client.send(frame(BINARY, message)[:READ_BUFFER_BYTES])
        assert not client.transport.is_reading()
        client.send(frame(BINARY, message)[READ_BUFFER_BYTES:])
        loop.settle()
        assert handler.messages() == [message]
        assert client.transport.is_reading()

    def test_no_read_of_plain_asyncio_is_larger(self) -> None:
        """The reference engine would work for half a second on 256 KiB of small frames."""

        async def scenario() -> int:
            server = await fastws.serve(Recorder(), "127.0.0.1", 0)
            async with fastws.connect(f"ws://127.0.0.1:{server.port}/", proxy=None):
                (connection,) = server.connections
                size: int = connection.transport.max_size
            await server.shutdown()
            return size

        assert asyncio.run(scenario()) == READ_BUFFER_BYTES

    def test_on_both_loops(self, run: Run) -> None:
        """uvloop reads into a buffer of ours, asyncio hands over bytes."""

        async def scenario() -> list[Any]:
            handler = Recorder(echo=True)
            server = await fastws.serve(handler, timeouts=NO_PINGS)
            loop: Any = asyncio.get_running_loop()
            network: Network = loop.create_server.__self__
            transport = network.listener(server.port).accept()
            transport.feed(handshake() + frame(TEXT, "early"))
            transport.feed(frame(BINARY, b"x" * 400_000))
            transport.feed(frame(CLOSE, b"\x03\xe8"))
            await handler.ws.wait_closed()
            await server.shutdown()
            return handler.events

        messages = [("message", "early"), ("message", b"x" * 400_000)]
        assert run(scenario()) == [("open",), *messages, ("close", 1000, "")]


class TestHolding:
    """Nothing more is read while somebody is behind: what one read brought waits, in its order."""

    def test_a_peer_that_does_not_read(self, loop: ManualLoop) -> None:
        handler = Recorder(echo=True)
        client = opened(loop, handler)
        client.stall(100)
        messages = [f"{number:3}" * 5000 for number in range(100)]
        for message in messages:
            client.text(message)
        assert len(handler.messages()) == 1
        assert client.transport.unread
        client.read(20_000)
        loop.settle()
        assert len(handler.messages()) <= 2 + READ_BUFFER_BYTES // 15_000
        assert client.connection.outbox.buffered_amount <= READ_BUFFER_BYTES + 16_000
        client.read()
        loop.settle()
        assert client.texts() == messages
        assert client.transport.is_reading()

    def test_in_the_middle_of_a_read(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, handler)
        client.send(
            frame(TEXT, "1")
            + frame(TEXT, "pause")
            + frame(TEXT, "2")
            + frame(TEXT, "pause")
            + frame(TEXT, "3")
        )
        assert handler.messages() == ["1", "pause"]
        handler.ws.resume_reading()
        assert handler.messages() == ["1", "pause", "2", "pause"]
        assert not client.transport.is_reading()
        handler.ws.resume_reading()
        assert handler.messages()[-1] == "3"
        assert client.transport.is_reading()

    def test_two_reasons(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.pause_reading()
        stall(loop, client, handler.ws)
        client.text("x")
        client.read()
        loop.settle()
        assert handler.messages() == []
        handler.ws.resume_reading()
        loop.settle()
        assert handler.messages() == ["x"]

    def test_bytes_that_come_all_the_same(self, loop: ManualLoop) -> None:
        """A host may have read before it was told to stop."""
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.pause_reading()
        for data in (frame(TEXT, "1"), frame(TEXT, "2") + frame(TEXT, "3")):
            view = client.connection.get_buffer(-1)
            view[: len(data)] = data
            client.connection.buffer_updated(len(data))
        assert handler.messages() == []
        handler.ws.resume_reading()
        assert handler.messages() == ["1", "2", "3"]

    def test_a_close_of_ours_does_not_wait(self, loop: ManualLoop) -> None:
        """Nobody takes messages any more: what was held back is thrown away, the peer's close is read."""
        handler = Scripted()
        client = opened(loop, handler)
        client.send(frame(TEXT, "pause") + frame(TEXT, "held back"))
        client.close()
        loop.settle()
        handler.ws.close_nowait(4000, "bye")
        loop.settle()
        assert handler.messages() == ["pause"]
        assert handler.closes() == [(4000, "bye")]
        assert client.transport.lost

    def test_lost_while_held(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, handler)
        client.send(frame(TEXT, "pause") + frame(TEXT, "held back"))
        ws = handler.ws
        client.transport.lose()
        loop.settle()
        ws.resume_reading()
        ws.pause_reading()
        assert handler.closes() == [(1006, "")]

    def test_released_by_a_handler_that_ends_it(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, handler)
        client.send(frame(TEXT, "pause") + frame(CLOSE, b"\x03\xe8"))
        handler.ws.resume_reading()
        loop.settle()
        assert client.transport.lost

    def test_a_full_inbox(self, loop: ManualLoop) -> None:
        got: list[Any] = []

        async def slowly(ws: WebSocket) -> None:
            async for message in ws:
                got.append(message)
                await asyncio.sleep(1)

        client = opened(loop, slowly, limits={"receive_queue": 2})
        client.send(b"".join(frame(TEXT, str(number)) for number in range(10)))
        loop.settle()
        assert not client.transport.is_reading()
        client.close()
        loop.advance(20)
        assert got == [str(number) for number in range(10)]
        assert client.frames()[-1].close_code == 1000

    def test_a_flood_that_comes_all_the_same(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        head = len(frame(BINARY, b"x" * READ_BUFFER_BYTES)) - READ_BUFFER_BYTES
        piece = frame(BINARY, b"x" * (READ_BUFFER_BYTES - head))
        for _ in range(3):
            view = client.connection.get_buffer(-1)
            view[:] = piece
            client.connection.buffer_updated(READ_BUFFER_BYTES)
        loop.settle()
        assert len(handler.messages()) == 3


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


class TestStreaming:
    """Parts of messages, where the handler takes them."""

    def test_parts(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, fastws.streaming(handler))
        client.send(frame(TEXT, "ra", fin=False))
        client.send(frame(0, "ise") + frame(TEXT, "next"))
        loop.settle()
        assert [(part.data, part.final) for part in handler.messages()] == [  # type: ignore[union-attr]
            ("ra", False),
            ("ise", True),
            ("next", True),
        ]
        assert client.connection.received_messages == 2

    def test_a_failing_handler(self, loop: ManualLoop) -> None:
        class Broken(Recorder):
            def on_message(self, ws: WebSocket, message: Any) -> None:
                super().on_message(ws, message)
                raise ValueError("broken")

        handler = Broken()
        client = opened(loop, fastws.streaming(handler))
        client.send(frame(TEXT, "a", fin=False) + frame(PING, b"") + frame(0, "b"))
        loop.settle()
        assert client.frames()[-1].close_code == 1011
        assert len(handler.messages()) == 1

    def test_more_than_one_turn_should_hold(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, fastws.streaming(handler))
        flood = b"".join(frame(TEXT, "x", mask=b"\0\0\0\0") for _ in range(5000))
        client.send(flood)
        client.ping(b"behind")
        loop.settle()
        assert len(handler.messages()) == 5000
        assert [one.opcode for one in client.frames()] == [PONG]

    def test_bytes_that_come_before_the_turn_for_more(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, fastws.streaming(handler))
        client.send(b"".join(frame(TEXT, str(number)) for number in range(1100)))
        late = frame(TEXT, "late")
        client.connection.get_buffer(-1)[: len(late)] = late
        client.connection.buffer_updated(len(late))
        loop.settle()
        assert [part.data for part in handler.messages()] == [  # type: ignore[union-attr]
            *(str(number) for number in range(1100)),
            "late",
        ]

    def test_more_for_one_that_has_paused(self, loop: ManualLoop) -> None:
        class Pausing(Recorder):
            def on_message(self, ws: WebSocket, message: Any) -> None:
                super().on_message(ws, message)
                if message.data == "pause":
                    ws.pause_reading()

        handler = Pausing()
        client = opened(loop, fastws.streaming(handler))
        flood = b"".join(frame(TEXT, "x", mask=b"\0\0\0\0") for _ in range(1100))
        client.send(frame(TEXT, "pause") + flood)
        loop.settle()
        assert len(handler.messages()) == 1
        handler.ws.resume_reading()
        loop.settle()
        assert len(handler.messages()) == 1101


class Panic(BaseException):
    """As pyo3's ``PanicException``: it is not an ``Exception``."""


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


class TestPeerCloses:
    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
    def test_is_answered_with_its_code_and_reason(self, loop: ManualLoop, code: int | None) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.close(code, "" if code is None else "bye")
        loop.settle()
        (answer,) = client.frames()
        assert (answer.close_code, answer.close_reason) == (code or 1005, "" if code is None else "bye")
        assert handler.closes() == [(code or 1005, "" if code is None else "bye")]
        assert client.transport.lost
        assert not client.transport.aborted

    def test_on_close_comes_before_the_end_of_tcp(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.close()
        assert handler.closes() == [(1000, "")]
        assert not client.transport.lost
        assert handler.ws.send_nowait("late") is SendStatus.CLOSED
        loop.settle()

    def test_what_follows_it_is_ignored(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, "late") + b"\xff\xff")
        loop.settle()
        assert handler.messages() == []
        assert [one.close_code for one in client.frames()] == [1000]

    def test_what_was_accepted_goes_first(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("accepted")
        client.close()
        loop.settle()
        assert not client.transport.lost
        client.read()
        loop.settle()
        assert [one.payload for one in client.frames()] == [b"stalls", b"accepted", b"\x03\xe8"]
        assert client.transport.lost

    def test_one_that_never_reads_the_answer(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.stall()
        client.close()
        assert handler.closes() == [(1000, "")]
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(2.2)
        assert client.transport.aborted


class TestViolations:
    @pytest.mark.parametrize(
        ("data", "code", "reason"),
        [
            (b"\x83\x80abcd", 1002, "unknown opcode"),
            (b"\x81\x05Hello", 1002, "unmasked frame"),
            (frame(TEXT, b"\xff"), 1007, "invalid UTF-8"),
            (frame(TEXT, "x" * 600), 1009, "message too big"),
        ],
    )
    def test_closes_with_its_code(self, loop: ManualLoop, data: bytes, code: int, reason: str) -> None:
        handler = Recorder(echo=True)
        client = opened(loop, handler, limits={"max_message_size": 512})
        client.send(frame(TEXT, "fine") + data + frame(TEXT, "late"))
        loop.settle()
        echo, last = client.frames()
        assert echo.payload == b"fine"
        assert (last.opcode, last.close_code) == (CLOSE, code)
        assert handler.closes() == [(code, last.close_reason)]
        assert last.close_reason == reason

    def test_the_rest_is_read_so_that_no_reset_takes_the_close_frame(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.transport.eof_written
        for _ in range(4):
            client.send(b"\xff" * 300_000)
            loop.advance(1)
        assert client.transport.unread == 0
        client.transport.feed_eof()
        loop.settle()
        assert client.transport.lost
        assert not client.transport.aborted

    def test_a_peer_that_has_reset_it_before(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_eof() -> None:
            raise OSError(107, "Transport endpoint is not connected")

        client = opened(loop, Recorder())
        monkeypatch.setattr(client.transport, "write_eof", write_eof)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.transport.aborted

    def test_a_peer_that_goes_on_has_five_seconds(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder())
        client.send(b"\x83\x80abcd")
        loop.advance(4.9)
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.aborted

    def test_over_tls_there_is_no_half_a_close(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(), ssl_object=object())
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.frames()[-1].close_code == 1002
        assert client.transport.lost

    def test_while_closing(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert [one.close_code for one in client.frames()] == [4000]
        assert handler.closes() == [(4000, "")]


class TestWeClose:
    def test_twice(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        handler.ws.close_nowait(4001)
        client.ping(b"too late for a pong")
        loop.settle()
        assert [(one.opcode, one.close_code) for one in client.frames()] == [(CLOSE, 4000)]

    def test_the_peer_answers(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, handler)
        client.send(frame(TEXT, "close") + frame(TEXT, "sent before it saw our close"))
        loop.settle()
        (ours,) = client.frames()
        assert (ours.close_code, ours.close_reason) == (4000, "as told")
        assert handler.closes() == []
        client.close(4000)
        loop.settle()
        assert handler.events == [("open",), ("message", "close"), ("close", 4000, "as told")]
        assert client.transport.lost
        assert not client.transport.aborted

    def test_the_peer_does_not(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(1000, "bye")
        loop.advance(4.9)
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.aborted
        assert handler.closes() == [(1000, "bye")]

    def test_the_peer_ends_tcp_instead(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(1000, "bye")
        client.transport.feed_eof()
        loop.settle()
        assert handler.closes() == [(1000, "bye")]

    def test_a_slow_peer_has_the_write_limit(self, loop: ManualLoop) -> None:
        """What was accepted before the close goes out as long as there is progress."""
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("y" * 100)
        handler.ws.close_nowait(1000, "bye")
        for _ in range(4):
            loop.advance(8)
            client.read(20)
        assert not client.transport.lost
        client.read()
        assert [one.opcode for one in client.frames()] == [TEXT, TEXT, CLOSE]
        loop.advance(5.2)
        assert client.transport.lost

    def test_without_a_limit(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={**NO_PINGS, "close": None})
        handler.ws.close_nowait()
        loop.advance(1000)
        assert not client.transport.lost

    def test_a_client_waits_for_the_server_to_end_tcp(self, loop: ManualLoop) -> None:
        """RFC 6455, section 7.1.1."""
        handler = Recorder()
        pair = Pair(loop, handler, timeouts=NO_PINGS, client={"timeouts": NO_PINGS})
        loop.run(pair.ws.close(1000, "bye"))
        assert handler.closes() == [(1000, "bye")]
        assert not pair.client.aborted
        assert not pair.server.aborted

    def test_a_client_does_not_wait_for_ever(self, loop: ManualLoop) -> None:
        handler = Recorder()
        pair = Pair(loop, handler, timeouts=NO_PINGS, client={"timeouts": NO_PINGS})
        pair.client.vanish()
        start = loop.time()
        loop.run(pair.ws.close())
        assert 5 <= loop.time() - start < 5.2

    def test_abort(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.connection.abort()
        loop.settle()
        assert client.transport.aborted
        assert handler.closes() == [(1006, "")]


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


class TestEviction:
    def publish_until_evicted(self, loop: ManualLoop, **options: Any) -> tuple[RawClient, Recorder, Hub]:
        hub, handler = Hub(), Recorder()
        client = opened(loop, handler, limits={"send_queue": 256}, **options)
        hub.subscribe(handler.ws, "t")
        stall(loop, client, handler.ws)
        for number in range(256):
            hub.publish("t", str(number))
            loop.settle()
        assert handler.closes() == []
        hub.publish("t", "one too many")
        loop.settle()
        return client, handler, hub

    def test_1008_for_both_sides(self, loop: ManualLoop) -> None:
        client, handler, hub = self.publish_until_evicted(loop)
        assert handler.closes() == [(1008, "too slow")]
        assert hub.count("t") == 0
        client.read()
        loop.settle()
        frames = client.frames()
        assert [(one.opcode, one.payload) for one in frames] == [
            (TEXT, b"stalls"),
            (CLOSE, b"\x03\xf0too slow"),
        ]
        assert client.transport.eof_written
        client.close(1008)
        loop.settle()
        assert client.transport.lost
        assert not client.transport.aborted
        assert client.connection.evicted

    def test_who_takes_nothing_is_cut_at_the_write_limit(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(3)
        assert client.transport.aborted
        assert handler.closes() == [(1008, "too slow")]

    def test_who_only_takes_nothing_counts_as_evicted_too(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(9)
        assert not client.connection.evicted
        loop.advance(3)
        assert client.transport.aborted
        assert client.connection.evicted
        assert handler.closes() == [(1006, "")]

    def test_who_has_the_frame_and_does_not_answer(self, loop: ManualLoop) -> None:
        client, _, _ = self.publish_until_evicted(loop)
        client.read()
        loop.advance(5.2)
        assert client.transport.aborted

    def test_over_tls(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop, ssl_object=object())
        client.read()
        loop.settle()
        assert client.frames()[-1].close_code == 1008
        assert not client.transport.lost
        loop.advance(5.2)
        assert client.transport.lost
        assert handler.closes() == [(1008, "too slow")]

    def test_messages_that_come_meanwhile_are_ignored(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        client.read()
        loop.settle()
        client.text("late")
        client.transport.feed_eof()
        loop.settle()
        assert handler.messages() == []
        assert client.transport.lost

    def test_on_close_may_publish(self, loop: ManualLoop) -> None:
        """It is not called in the middle of a fan-out."""
        hub = Hub()

        class Announcing(Recorder):
            def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
                super().on_close(ws, code, reason)
                hub.publish("t", "somebody left")

        handler = Announcing()
        server = served(loop, handler, limits={"send_queue": 1})
        slow, fine = RawClient(server, loop), RawClient(server, loop)
        for client in (slow, fine):
            client.upgrade()
            hub.subscribe(handler.ws, "t")
        stall(loop, slow, handler.sockets[0])
        for message in "abc":
            hub.publish("t", message)
        loop.settle()
        assert fine.texts() == ["a", "b", "c", "somebody left"]

    def test_twice_and_when_closing(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        client.connection.evict("too slow")
        loop.settle()
        assert [one.close_code for one in client.frames()] == [4000]
        assert not client.connection.evicted

    def test_lost_in_the_same_turn(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        client.transport.lose()
        loop.settle()
        assert handler.closes() == [(1008, "too slow")]
        assert loop.timers == []


class TestKeepAlive:
    """Pings every 20 s, a pong within 20 s more, and one more look at the socket before the end."""

    def test_a_peer_that_answers(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        for _ in range(10):
            loop.advance(20.05)
            (ping,) = client.frames()
            assert (ping.opcode, len(ping.payload)) == (PING, 4)
            client.pong(ping.payload)
        assert handler.ws.latency is not None
        assert handler.closes() == []

    @pytest.mark.parametrize("kind", ["silent", "vanished", "wrong pongs"])
    def test_a_peer_that_does_not(self, loop: ManualLoop, kind: str) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        if kind == "vanished":
            client.vanish()
        for _ in range(40):
            loop.advance(1)
            if kind == "wrong pongs":
                client.pong(b"")
                client.pong(b"nope")
        assert handler.closes() == []
        loop.advance(PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == [(1006, "ping timeout")]
        assert client.transport.aborted
        loop.settle()
        assert loop.timers == []

    def test_no_second_ping_before_the_pong(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(), timeouts={"ping_interval": 5, "ping_timeout": 12})
        loop.advance(16)
        assert len(client.frames()) == 1

    def test_without_a_limit_for_the_pong(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={"ping_timeout": None})
        loop.advance(100)
        assert [one.opcode for one in client.frames()] == [PING] * 5
        assert handler.closes() == []

    def test_after_a_pause_of_the_machine(self, loop: ManualLoop) -> None:
        """Timers fire before reads: the pong that lies in the socket still counts."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        loop.advance(20.05)
        (ping,) = client.frames()
        loop.sleep_machine(3600)
        loop.settle()
        client.pong(ping.payload)
        loop.advance(PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == []

    def test_while_nothing_is_read(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        handler.ws.pause_reading()
        loop.advance(20.05)
        client.pong(client.frames()[0].payload)
        loop.advance(300)
        assert handler.closes() == []
        handler.ws.resume_reading()
        loop.advance(5)
        assert handler.closes() == []

    def test_just_when_reading_goes_on(self, loop: ManualLoop) -> None:
        """A timer that fires between the resumption and the first read is no reason to end it."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        handler.ws.pause_reading()
        loop.advance(20.05)
        ping = client.frames()[0]
        loop.advance(60)
        handler.ws.resume_reading()
        loop.advance(PONG_GRACE_SECONDS)
        assert handler.closes() == []
        client.pong(ping.payload)
        loop.advance(PONG_GRACE_SECONDS)
        assert handler.closes() == []

    def test_a_pong_for_a_newer_ping(self, loop: ManualLoop) -> None:
        """A peer may answer only the most recent ping (RFC 6455, section 5.5.3)."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        client.connection.loop_state.clock = loop.time
        loop.advance(20.05)
        loop.advance(1)
        task = loop.create_task(handler.ws.ping(b"newer"))
        loop.settle()
        client.pong(b"newer")
        loop.advance(18)
        assert task.done()
        assert handler.closes() == []
        loop.advance(10)
        assert handler.closes() == []
        assert [one.opcode for one in client.frames()] == [PING] * 3

    def test_pings_overtake_what_waits(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={"write": None})
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("waits")
        loop.advance(20.05)
        client.read()
        assert [one.opcode for one in client.frames()] == [TEXT, PING, TEXT]

    def test_off(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder())
        loop.advance(1000)
        assert client.frames() == []
        assert loop.timers == []

    def test_behind_what_a_slow_reader_takes_first(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel has taken all, the ping too, and the peer reads on: its pong may come much later."""
        kernel = SlowPeer(loop, seconds=30.0)
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        loop.advance(20.05)
        (ping,) = client.frames()
        loop.advance(200)
        assert handler.closes() == []
        client.pong(ping.payload)
        kernel.stop()
        loop.advance(20.05)
        assert handler.closes() == []
        # It answers the next ping no more, and takes nothing more: it has the time of its window once.
        loop.advance(20 + PONG_GRACE_SECONDS + 29.5)
        assert handler.closes() == []
        loop.advance(2)
        assert handler.closes() == [(1006, "ping timeout")]

    def test_a_peer_whose_kernel_has_all_and_that_answers_nothing(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = SlowPeer(loop, seconds=0.0)
        kernel.patch(monkeypatch)
        handler = Recorder()
        opened(loop, handler, timeouts={})
        loop.advance(40 + PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == [(1006, "ping timeout")]


class SlowPeer:
    """What the kernel tells of a peer that takes something in each 2 s; ``seconds`` is its window's time."""

    def __init__(self, loop: ManualLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._stopped_at: float | None = None

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastws.connection.lifetime.progress_mark", self.mark)
        monkeypatch.setattr("fastws.connection.lifetime.window_seconds", lambda transport: self._seconds)

    def stop(self) -> None:
        self._stopped_at = self._loop.time()

    def mark(self, transport: Any) -> int:
        return int((self._stopped_at or self._loop.time()) // 2)


class TestWriteLimit:
    def test_a_window_that_opens_in_large_steps(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        kernel = SlowPeer(loop, seconds=50.0)
        kernel.stop()
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(49)
        assert handler.closes() == []
        loop.advance(3)
        assert client.transport.aborted
        assert re.search(r"took nothing for 5\d s: aborted", caplog.text)

    def test_a_window_is_waited_for_within_a_bound(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = SlowPeer(loop, seconds=10_000.0)
        kernel.stop()
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(119)
        assert handler.closes() == []
        loop.advance(3)
        assert client.transport.aborted

    def test_without_progress(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(9.9)
        assert not client.transport.lost
        loop.advance(1.2)
        assert client.transport.aborted
        assert handler.closes() == [(1006, "")]
        assert "took nothing for 10 s" in caplog.text

    def test_progress_counts_however_small(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.stall(1)
        handler.ws.send_nowait("x" * 1000)
        loop.settle()
        client.read_slowly(1, 8.0)
        loop.advance(200)
        assert handler.closes() == []
        client.read()
        loop.advance(20)
        assert handler.closes() == []

    def test_what_is_said_meanwhile_is_no_progress(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        for _ in range(12):
            loop.advance(1)
            handler.ws.send_nowait("more")
            client.ping(b"x")
        assert client.transport.aborted

    def test_off(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={**NO_PINGS, "write": None})
        stall(loop, client, handler.ws)
        loop.advance(1000)
        assert handler.closes() == []

    def test_is_not_forgotten_for_a_later_deadline(self, loop: ManualLoop) -> None:
        """The first ping is due in 20 s; the write that stalled before the 101 was read is not."""
        release = loop.create_future()

        async def authorize(request: fastws.Request) -> None:
            await release

        async def start() -> Server:
            page = Route("/page", http=lambda request: fastws.Response(200, "x"))
            return await fastws.serve([page, Route("/", Recorder(), authorize=authorize)], access_log=False)

        client = RawClient(loop.run(start()), loop)
        client.stall()
        client.send(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n" + handshake())
        loop.settle()
        release.set_result(None)
        loop.advance(11.2)
        assert client.transport.aborted


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
