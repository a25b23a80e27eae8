"""A reader that has inflated enough stops, keeps the rest as it is, and goes on when it is told to."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from fastws.protocol.websocket.deflate import INFLATED_BYTES_AHEAD, Deflater
from fastws.protocol.websocket.events import Close, Fail, More, Ping
from fastws.protocol.websocket.frames import Engine
from fastws.protocol.websocket.rate_limit import RateLimiter
from fastws.testing.wire import BINARY, CONTINUATION, PING, TEXT
from tests.protocol.websocket.cases import close
from tests.protocol.websocket.wire import (
    BOTH_ENGINES,
    BOTH_ROLES,
    Frame,
    feed,
    new_reader,
    sized,
    wire,
)

RSV1 = 0xC0
SIZE = INFLATED_BYTES_AHEAD // 2


def compressed(number: int, size: int = SIZE, opcode: int = BINARY) -> Frame:
    return sized(RSV1 | opcode, Deflater()(b"%c" % (number + 48) * size))


@BOTH_ENGINES
@BOTH_ROLES
def test_it_stops_and_goes_on(engine_: Engine, client: bool) -> None:
    frames = [compressed(number) for number in range(5)]
    reader = new_reader(engine_, client=client, deflate=True)
    first = reader.receive(wire([*frames, sized(0x80 | PING, b"p")], client=client))
    assert [len(event) for event in first[:-1]] == [SIZE, SIZE]
    assert isinstance(first[-1], More)
    assert reader.pending
    assert reader.receive(wire([sized(0x80 | TEXT, b"behind"), close(1000)], client=client)) == []
    second = reader.receive(b"")
    assert [event[:1] for event in second[:-1]] == [b"2", b"3"]
    assert isinstance(second[-1], More)
    last = reader.receive(b"")
    assert [last[0][:1], *last[1:]] == [b"4", Ping(b"p"), "behind", Close(1000, "")]
    assert reader.receive(b"") == []
    assert not reader.pending


@BOTH_ENGINES
@pytest.mark.parametrize("step", [1, 7, 100, 1_000_000])
def test_where_the_input_is_cut_changes_nothing(engine_: Engine, step: int) -> None:
    frames = [compressed(number) for number in range(3)]
    frames += [sized(TEXT | 0x40, Deflater()(b"x" * SIZE)[:4]), sized(0x80 | PING, b"p")]
    frames += [sized(0x80 | CONTINUATION, Deflater()(b"x" * SIZE)[4:]), sized(0x80 | TEXT, b"plain")]
    data = wire([*frames, sized(0x83, b"")], client=False)
    reader = new_reader(engine_, client=False, deflate=True)
    events: list[Any] = feed(reader, data, step=step)
    assert [event[:1] for event in events[:3]] == [b"0", b"1", b"2"]
    assert events[3:] == [Ping(b"p"), "x" * SIZE, "plain", Fail(1002, "unknown opcode")]
    assert not reader.pending


@BOTH_ENGINES
def test_one_read_after_another_is_counted(engine_: Engine) -> None:
    """A frame in each read leaves no rest, and is inflated ahead all the same."""
    reader = new_reader(engine_, client=False, deflate=True)
    one = wire([compressed(0)], client=False)
    assert [type(event) for event in reader.receive(one)] == [bytes]
    assert [type(event) for event in reader.receive(one)] == [bytes, More]
    assert not reader.pending
    assert reader.receive(one) == []
    assert reader.pending
    assert [type(event) for event in reader.receive(b"")] == [bytes]


@BOTH_ENGINES
def test_plain_messages_never_stop_it(engine_: Engine) -> None:
    reader = new_reader(engine_, client=False, deflate=True)
    data = wire([sized(0x80 | BINARY, b"x" * SIZE)] * 5, client=False)
    assert reader.receive(data) == [b"x" * SIZE] * 5


@BOTH_ENGINES
def test_a_failure_of_the_message_that_was_enough(engine_: Engine) -> None:
    reader = new_reader(engine_, client=False, deflate=True)
    bad = sized(RSV1 | TEXT, Deflater()(b"\xff" * INFLATED_BYTES_AHEAD))
    assert reader.receive(wire([bad, compressed(0)], client=False)) == [Fail(1007, "invalid UTF-8")]
    assert reader.receive(b"") == []


@BOTH_ENGINES
def test_no_more_than_one_message_is_inflated_beyond_it(engine_: Engine) -> None:
    """Many frames of 1 kB, each of which becomes 1 MiB."""
    inflated = 0

    def inflate(payload: bytes, limit: int) -> bytes:
        nonlocal inflated
        message = zlib.decompressobj(-15).decompress(payload)
        inflated += len(message)
        return message

    size = 1024 * 1024
    reader = engine_.Reader(size, 10, 10, inflate, client=False)
    data = wire([compressed(0, size)] * 200, client=False)
    events = reader.receive(data)
    for taken in range(1, 201):
        assert [type(event) for event in events] == [bytes, More]
        assert inflated == taken * size
        events = reader.receive(b"")
    assert events == []


@BOTH_ENGINES
def test_limits_per_second_count_what_came_before_them(engine_: Engine) -> None:
    """The bytes within the limit are delivered, and then it fails; what comes meanwhile is thrown away."""
    data = wire([compressed(number) for number in range(4)], client=False)
    limiter = RateLimiter(new_reader(engine_, client=False, deflate=True), None, len(data), lambda: 0.0)
    behind = wire([compressed(9)], client=False)
    events = limiter.receive(data + behind, len(data + behind))
    assert [type(event) for event in events] == [bytes, bytes, More]
    assert limiter.receive(behind, len(behind)) == []
    events = limiter.receive(b"", 0)
    assert [type(event) for event in events] == [bytes, bytes, More]
    assert limiter.receive(b"", 0) == [Fail(1008, "too many bytes")]
    assert limiter.receive(b"", 0) == []
