"""The ring of a topic: against a list, and how much memory it takes."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.pubsub.history import History
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop

STEPS = st.lists(st.one_of(st.integers(0, 30), st.floats(0.5, 20)), max_size=60)


@settings(max_examples=400, deadline=None)
@given(STEPS, st.integers(1, 8), st.integers(1, 100), st.floats(1, 30))
def test_against_a_list(steps: list[int | float], messages: int, max_bytes: int, ttl: float) -> None:
    """Integers publish that many bytes, other numbers are time that goes by."""
    ring, now = History(messages, max_bytes, ttl), 0.0
    kept: list[tuple[int, bytes, float]] = []
    offset = expired_to = 0
    for step in steps:
        if isinstance(step, float):
            now += step
            ring.expire(now)
        while kept and now - kept[0][2] >= ttl:
            expired_to = kept.pop(0)[0]
        if isinstance(step, int):
            offset += 1
            frame = bytes([offset]) * step
            ring.append(frame, now)
            kept.append((offset, frame, now))
            while len(kept) > messages or (len(kept) > 1 and sum(len(one[1]) for one in kept) > max_bytes):
                kept.pop(0)
        first = kept[0][0] if kept else offset + 1
        assert (ring.first, ring.next) == (first, offset + 1)
        assert ring.size == sum(len(frame) for _, frame, _ in kept)
        assert ring.why_dropped() == ("expired" if first - 1 <= expired_to else "limit")
        for start, _, _ in kept:
            frames = [frame for number, frame, _ in kept if number >= start]
            assert ring.frames(start, 10**6, 10**6) == frames
            assert ring.frames(start, 10**6, 2) == frames[:2]
            assert len(ring.frames(start, 1, 10**6)) <= sum(not frame for frame in frames) + 1


def bytes_of(topics: int, messages: int, size: int, loop: ManualLoop) -> float:
    """Bytes that one topic takes with that many messages of its own."""
    hub = Hub()
    hub.topic("t/*", history=1000)
    hub.publish("t/first", "x")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for topic in range(topics):
            for number in range(messages):
                hub.publish(f"t/{topic}", f"{number:0{size}}")
        loop.settle()
        return (tracemalloc.get_traced_memory()[0] - before) / topics
    finally:
        tracemalloc.stop()


def test_a_thousand_messages_take_400_kib_at_most(loop: ManualLoop) -> None:
    assert bytes_of(3, 1000, 256, loop) <= 400 * 1024


def test_a_topic_with_ten_messages_takes_5_kib_at_most(loop: ManualLoop) -> None:
    assert bytes_of(100, 10, 256, loop) <= 5 * 1024


def test_what_is_dropped_is_given_back(loop: ManualLoop) -> None:
    full = bytes_of(3, 1000, 256, loop)
    assert bytes_of(3, 10_000, 256, loop) <= full + 1024
