"""What a WebSocket may receive in a second, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.config import Limits
from fastws.protocol.websocket.events import Close, Fail, Ping
from fastws.protocol.websocket.frames import Reader
from fastws.protocol.websocket.rate_limit import RateLimiter, Window
from tests.kit import wire

MASKED_EMPTY = 6


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limited(messages: int | None, size: int | None, clock: Clock) -> RateLimiter:
    limits = Limits()
    reader = Reader(
        limits.max_message_size, limits.max_fragments, limits.max_empty_fragments, None, client=False
    )
    return RateLimiter(reader, messages, size, clock)


def receive(limiter: RateLimiter, *frames: bytes) -> list[Any]:
    data = b"".join(frames)
    return limiter.receive(data, len(data))


def text(message: str, fin: bool = True) -> bytes:
    return wire.frame(wire.TEXT, message, fin=fin)


def test_a_window_lets_its_limit_through_and_no_more() -> None:
    window = Window(5)
    assert [window.take(2, 1.0), window.take(2, 1.5), window.take(2, 1.9), window.take(1, 1.999)] == [
        2,
        2,
        1,
        0,
    ]
    assert not window.over(1.999)
    assert window.over(2.0)
    assert window.take(9, 2.0) == 5


@pytest.mark.parametrize("together", [True, False])
def test_so_many_messages_are_delivered_and_then_it_fails(together: bool) -> None:
    limiter = limited(3, None, Clock())
    frames = [text(str(number)) for number in range(5)]
    events = (
        receive(limiter, *frames) if together else [e for frame in frames for e in receive(limiter, frame)]
    )
    assert events == ["0", "1", "2", Fail(1008, "too many messages")]


def test_what_is_no_message_is_not_counted() -> None:
    limiter = limited(1, None, Clock())
    ping = wire.frame(wire.PING, b"p")
    assert receive(limiter, ping, text("a"), ping, text("b", False)) == [Ping(b"p"), "a", Ping(b"p")]
    assert receive(limiter, ping, wire.frame(wire.CLOSE, b"")) == [Ping(b"p"), Close(1005, "")]


def test_a_message_in_fragments_counts_when_it_is_complete() -> None:
    limiter = limited(1, None, Clock())
    end = wire.frame(wire.CONTINUATION, b"c")
    assert receive(limiter, text("a", False), end) == ["ac"]
    assert receive(limiter, text("a", False)) == []
    assert receive(limiter, end) == [Fail(1008, "too many messages")]


def test_so_many_bytes_are_read_and_then_it_fails() -> None:
    whole = text("12345678")
    limiter = limited(None, 2 * len(whole) + 1, Clock())
    assert receive(limiter, whole) == ["12345678"]
    assert receive(limiter, whole, whole) == ["12345678", Fail(1008, "too many bytes")]
    assert receive(limiter, whole) == []


def test_the_next_second_begins_anew() -> None:
    clock = Clock()
    limiter = limited(2, 4 * MASKED_EMPTY, clock)
    for _ in range(50):
        assert receive(limiter, text(""), text("")) == ["", ""]
        clock.now += 1.0
    assert receive(limiter, text(""), text("")) == ["", ""]
    clock.now += 0.999
    assert receive(limiter, text("")) == [Fail(1008, "too many messages")]


def test_a_failure_of_the_reader_stays_the_only_one() -> None:
    bad = b"\xff" * 20
    limiter = limited(None, 10, Clock())
    events = receive(limiter, bad)
    assert [type(event) for event in events] == [Fail]
    assert events[0].code == 1002


def test_a_second_that_several_share() -> None:
    """Two windows that hear of each other let pass the limit in all, and end at the same time."""
    one, two = Window(3), Window(3)
    assert one.take(2, 10.0) == 2
    two.share(2, one.ends, 10.1)
    assert two.ends == one.ends == 11.0
    assert two.take(2, 10.2) == 1
    one.share(1, two.ends, 10.3)
    assert one.take(1, 10.4) == 0
    # One whose second has begun before counts on until the later end.
    assert two.take(1, 11.0) == 1
    one.share(1, two.ends, 10.9)
    assert (one.take(1, 11.5), one.ends) == (0, 11.9)
    # A clock that is wrong cannot make it longer than a second, nor a count less than nothing.
    one.share(99, 99.0, 20.0)
    assert (one.take(1, 20.9), one.ends, one.take(4, 21.0)) == (0, 21.0, 3)
