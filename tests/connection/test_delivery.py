"""From bytes to the handler: reads, what is held while reading is paused, parts."""

from __future__ import annotations

import asyncio
from typing import Any

import fastws
from fastws import Limits, WebSocket
from fastws.connection.delivery import EVENTS_PER_TURN
from fastws.loop.state import READ_BUFFER_BYTES
from fastws.testing.wire import BINARY, CLOSE, PING, PONG, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop, Network, Recorder, frame, handshake
from tests.kit.served import NO_PINGS, Scripted, opened, stall


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
        # Half of what may wait, and the message that was one too many.
        most = Limits().send_queue_bytes // 2 + 2 * 16_000
        assert most - 4 * 16_000 < client.connection.outbox.buffered_amount <= most
        assert client.transport.unread
        client.read(20_000)
        loop.settle()
        assert client.connection.outbox.buffered_amount <= most
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
