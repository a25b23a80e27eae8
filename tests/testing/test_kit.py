"""The kit itself: the back-pressure of its transports, its clock, and its ends of a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit import Kernel, ManualLoop, MemoryTransport, RawClient, frame, read_frames, read_response


class Spy(asyncio.Protocol):
    """Notes what a transport tells it."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.received = b""
        self._keep_open = keep_open

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self._keep_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc).__name__)


def one(loop: ManualLoop, **options: Any) -> tuple[MemoryTransport, Spy]:
    spy = Spy()
    transport = MemoryTransport(loop, spy, **options)
    transport.start()
    return transport, spy


def two(
    loop: ManualLoop, capacity: int, *, keep_open: bool = False
) -> tuple[MemoryTransport, Spy, MemoryTransport, Spy]:
    spies = Spy(keep_open=keep_open), Spy(keep_open=keep_open)
    left, right = (MemoryTransport(loop, spy, capacity=capacity) for spy in spies)
    left.join(right)
    left.start()
    right.start()
    return left, spies[0], right, spies[1]


class TestScripted:
    def test_refusal_begins_with_the_first_byte_that_is_left_over(self, loop: ManualLoop) -> None:
        transport, spy = one(loop, room=3)
        transport.write(b"abc")
        assert spy.told == []
        transport.write(b"de")
        assert spy.told == ["pause"]
        assert transport.sent == b"abc"
        assert transport.get_write_buffer_size() == 2

    def test_resumes_when_the_last_byte_is_taken(self, loop: ManualLoop) -> None:
        transport, spy = one(loop, room=0)
        transport.write(b"abc")
        transport.take(2)
        assert spy.told == ["pause"]
        transport.take()
        assert spy.told == ["pause", "resume"]
        assert transport.take_sent() == b"abc"

    def test_marks_above_zero(self, loop: ManualLoop) -> None:
        transport, spy = one(loop, room=0)
        transport.set_write_buffer_limits(high=4)
        assert transport.get_write_buffer_limits() == (1, 4)
        transport.write(b"abcd")
        assert spy.told == []
        transport.write(b"e")
        transport.take(3)
        assert spy.told == ["pause"]
        transport.take(1)
        assert spy.told == ["pause", "resume"]

    def test_a_close_sends_what_is_left_and_an_abort_does_not(self, loop: ManualLoop) -> None:
        closed, spy = one(loop, room=0)
        closed.write(b"abc")
        closed.close()
        closed.close()
        loop.settle()
        assert spy.told == ["pause"]
        closed.take()
        loop.settle()
        assert closed.sent == b"abc"
        assert spy.told == ["pause", "resume", "lost"]
        aborted, spy = one(loop, room=0)
        aborted.write(b"abc")
        aborted.abort()
        aborted.take()
        loop.settle()
        assert aborted.sent == b""
        assert spy.told == ["pause", "lost"]

    def test_what_is_written_to_a_closing_transport_goes_nowhere(self, loop: ManualLoop) -> None:
        transport, _ = one(loop)
        transport.close()
        transport.write(b"abc")
        assert transport.sent == b""
        loop.settle()
        with pytest.raises(RuntimeError, match="closed"):
            transport.write(b"abc")

    def test_nothing_may_be_written_after_eof(self, loop: ManualLoop) -> None:
        transport, _ = one(loop)
        transport.write_eof()
        transport.write_eof()
        assert transport.eof_written
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"abc")

    def test_paused_reading_keeps_what_arrives(self, loop: ManualLoop) -> None:
        transport, spy = one(loop)
        transport.pause_reading()
        assert not transport.is_reading()
        transport.feed(b"abc")
        transport.feed_eof()
        assert spy.received == b""
        assert transport.unread == 3
        transport.resume_reading()
        transport.resume_reading()
        loop.settle()
        assert spy.received == b"abc"
        assert spy.told == ["eof", "lost"]
        with pytest.raises(RuntimeError, match="closing"):
            transport.pause_reading()
        transport.feed(b"late")
        assert spy.received == b"abc"

    def test_loss(self, loop: ManualLoop) -> None:
        transport, spy = one(loop)
        transport.lose()
        transport.lose()
        loop.settle()
        assert spy.told == ["ConnectionResetError"]
        assert "lost" in repr(transport)


class TestJoined:
    def test_bytes_cross_and_the_window_refuses(self, loop: ManualLoop) -> None:
        left, left_spy, right, right_spy = two(loop, 10)
        right.pause_reading()
        left.write(b"0123456789abcdef")
        assert left_spy.told == ["pause"]
        loop.settle()
        assert (right.unread, left.get_write_buffer_size()) == (10, 6)
        right.resume_reading()
        loop.settle()
        assert right_spy.received == b"0123456789abcdef"
        assert left_spy.told == ["pause", "resume"]

    def test_a_close_is_an_eof_for_the_peer(self, loop: ManualLoop) -> None:
        left, left_spy, _, right_spy = two(loop, 10)
        left.write(b"bye")
        left.close()
        loop.settle()
        assert right_spy.received == b"bye"
        assert right_spy.told == ["eof", "lost"]
        assert left_spy.told == ["lost"]

    def test_half_a_close(self, loop: ManualLoop) -> None:
        left, left_spy, right, right_spy = two(loop, 10, keep_open=True)
        left.write_eof()
        loop.settle()
        right.write(b"still")
        loop.settle()
        assert right_spy.told == ["eof"]
        assert left_spy.received == b"still"

    def test_a_close_over_unread_bytes_is_a_reset(self, loop: ManualLoop) -> None:
        left, _, right, right_spy = two(loop, 10)
        left.pause_reading()
        right.write(b"unread")
        loop.settle()
        left.close()
        loop.settle()
        assert right_spy.told == ["ConnectionResetError"]

    def test_bytes_for_a_peer_that_is_gone_are_a_reset(self, loop: ManualLoop) -> None:
        left, _, right, right_spy = two(loop, 10, keep_open=True)
        left.close()
        loop.settle()
        right.write(b"abc")
        loop.settle()
        assert right_spy.told == ["eof", "ConnectionResetError"]

    def test_a_peer_that_vanishes_takes_what_the_kernel_holds(self, loop: ManualLoop) -> None:
        left, left_spy, _, right_spy = two(loop, 4)
        left.vanish()
        left.write(b"123456")
        loop.settle()
        assert left_spy.told == ["pause"]
        assert (right_spy.told, right_spy.received) == ([], b"")


class TestKernel:
    def test_writes_past_the_transport(self, loop: ManualLoop) -> None:
        kernel = Kernel()
        transport, _ = one(loop, room=3, socket=kernel.open())
        kernel.attach(transport)
        kernel.errors[100] = 32
        assert kernel.send_items(100, (b"abcde",)) == (5, -32, b"")
        assert kernel.send_many([100], b"abcde") == [(0, 3)]
        assert kernel.send_items(100, (b"abcde",)) == (5, 0, b"abcde")
        assert transport.sent == b"abc"
        transport.take()
        assert kernel.send_many([100], b"de") is None
        assert kernel.calls == [1, 1, 1, 1]

    def test_notices_a_direct_write_that_overtakes(self, loop: ManualLoop) -> None:
        transport, _ = one(loop, room=0)
        transport.write(b"abc")
        with pytest.raises(AssertionError, match="overtakes"):
            transport.send_directly(b"x")


class TestLoop:
    def test_turns(self, loop: ManualLoop) -> None:
        said: list[int] = []

        def first() -> None:
            said.append(1)
            loop.call_soon(said.append, 2)

        loop.call_soon(first)
        loop.call_soon(said.append, 9).cancel()
        loop.turn()
        assert said == [1]
        assert not loop.is_idle
        loop.settle()
        assert said == [1, 2]
        assert loop.is_idle

    def test_the_clock_stops_at_each_timer(self, loop: ManualLoop) -> None:
        said: list[float] = []
        start = loop.time()

        def second() -> None:
            said.append(loop.time() - start)
            loop.call_later(3, said.append, 99)

        loop.call_later(2, second)
        loop.call_later(1, lambda: said.append(loop.time() - start))
        loop.call_later(1, said.append, 77).cancel()
        loop.advance(4)
        assert said == [1, 2]
        assert loop.time() - start == 4
        assert loop.timers == [start + 5]

    def test_runs_coroutines_without_waiting(self, loop: ManualLoop) -> None:
        async def sleep() -> str:
            await asyncio.sleep(3600)
            return "woke"

        start = loop.time()
        assert loop.run(sleep()) == "woke"
        assert loop.time() - start == 3600

    def test_says_so_when_a_coroutine_cannot_end(self, loop: ManualLoop) -> None:
        async def wait() -> None:
            await loop.create_future()

        with pytest.raises(RuntimeError, match="cannot happen"):
            loop.run(wait())

    def test_errors_in_callbacks_are_raised_at_the_end(self) -> None:
        def fail() -> None:
            raise ValueError("lost")

        with pytest.raises(AssertionError, match="lost"), ManualLoop() as loop:  # type: ignore[abstract]
            loop.call_soon(fail)

    def test_a_loop_that_feeds_itself_is_stopped(self, loop: ManualLoop) -> None:
        def again() -> None:
            loop.call_soon(again)

        again()
        with pytest.raises(RuntimeError, match="rest"):
            loop.settle()
        loop._ready.clear()

    def test_signals(self, loop: ManualLoop) -> None:
        said: list[int] = []
        loop.add_signal_handler(2, said.append, 2)
        loop.raise_signal(2)
        loop.settle()
        assert said == [2]
        assert loop.remove_signal_handler(2)
        assert not loop.remove_signal_handler(2)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("mask", [None, b"abcd"])
def test_frames_there_and_back(size: int, mask: bytes | None) -> None:
    data = frame(2, b"\xfe" * size, mask=mask)
    (parsed,), rest = read_frames(data + b"\x81")
    assert rest == b"\x81"
    assert parsed == (2, b"\xfe" * size, True, False, mask is not None)
    assert read_frames(data[:-1])[0] == []


def test_a_response_that_is_not_whole() -> None:
    with pytest.raises(ValueError, match="head"):
        read_response(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ValueError, match="body"):
        read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")


def test_a_response_in_chunks() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + b"3\r\none\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    answer, rest = read_response(data + b"HTTP")
    assert (answer.body, rest) == (b"one0123456789abcdef", b"HTTP")
    for end in range(len(head), len(data)):
        with pytest.raises(ValueError, match="no whole chunk"):
            read_response(data[:end])


def test_a_client_that_reads_slowly(loop: ManualLoop) -> None:
    client = RawClient.__new__(RawClient)
    client.loop = loop
    client.transport, spy = one(loop, room=0)
    client.transport.write(b"0123456789")
    client.read_slowly(4, 1.0)
    assert client.transport.take_sent() == b"0123"
    loop.advance(1.5)
    assert client.transport.take_sent() == b"4567"
    client.transport.lose()
    loop.advance(5)
    assert loop.timers == []
    assert spy.told == ["pause", "ConnectionResetError"]
