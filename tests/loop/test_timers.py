"""The timer wheel, on a loop whose clock is moved by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.loop.timers import Timed, Wheel
from tests.kit import ManualLoop

#: How late a timer may fire, in seconds.
TICK = 0.05


class Item(Timed):
    """Notes when it is served, in seconds since its making; ``then`` decides when it is due again."""

    def __init__(self, loop: ManualLoop, then: Callable[[float], float | None] = lambda now: None) -> None:
        self.tick = 0
        self.served: list[float] = []
        self.start = loop.time()
        self.then = then

    def on_timer(self, now: float) -> float | None:
        self.served.append(round(now - self.start, 6))
        return self.then(now)


@pytest.fixture
def wheel(loop: ManualLoop) -> Wheel:
    return Wheel(loop.call_at, loop.time)


def test_never_early_and_at_most_a_tick_late(loop: ManualLoop, wheel: Wheel) -> None:
    item = Item(loop)
    wheel.set(item, loop.time() + 1.01)
    loop.advance(1.009)
    assert item.served == []
    loop.advance(TICK)
    assert item.served == [pytest.approx(1.05)]
    assert item.tick == 0


def test_one_timer_for_all(loop: ManualLoop, wheel: Wheel) -> None:
    items = [Item(loop) for _ in range(100)]
    for number, item in enumerate(items):
        wheel.set(item, loop.time() + 10 - number % 7)
    assert len(loop.timers) == 1
    loop.advance(11)
    assert [len(item.served) for item in items] == [1] * 100
    assert loop.timers == []


def test_an_earlier_item_moves_the_timer(loop: ManualLoop, wheel: Wheel) -> None:
    late, soon = Item(loop), Item(loop)
    wheel.set(late, loop.time() + 10)
    wheel.set(soon, loop.time() + 1)
    loop.advance(2)
    assert (len(soon.served), len(late.served)) == (1, 0)
    loop.advance(9)
    assert len(late.served) == 1


def test_set_moves_and_sooner_only_brings_forward(loop: ManualLoop, wheel: Wheel) -> None:
    item = Item(loop)
    wheel.set(item, loop.time() + 1)
    wheel.set(item, loop.time() + 1)
    wheel.set(item, loop.time() + 5)
    wheel.sooner(item, loop.time() + 9)
    loop.advance(4)
    assert item.served == []
    wheel.sooner(item, loop.time() + 0.5)
    loop.advance(10)
    assert item.served == [pytest.approx(4.5)]
    wheel.sooner(item, loop.time() + 1)
    loop.advance(2)
    assert len(item.served) == 2


def test_cancel(loop: ManualLoop, wheel: Wheel) -> None:
    gone, stays = Item(loop), Item(loop)
    wheel.cancel(gone)
    wheel.set(gone, loop.time() + 1)
    wheel.set(stays, loop.time() + 1)
    wheel.cancel(gone)
    wheel.cancel(gone)
    loop.advance(2)
    assert (gone.served, len(stays.served)) == ([], 1)


def test_with_the_last_item_the_timer_goes(loop: ManualLoop, wheel: Wheel) -> None:
    items = [Item(loop) for _ in range(3)]
    for number, item in enumerate(items):
        wheel.set(item, loop.time() + number)
    for item in items:
        wheel.cancel(item)
    assert loop.timers == []
    wheel.set(items[0], loop.time() + 1)
    loop.advance(2)
    assert len(items[0].served) == 1


def test_due_again(loop: ManualLoop, wheel: Wheel) -> None:
    item = Item(loop, lambda now: now + 1)
    wheel.set(item, loop.time() + 1)
    loop.advance(3.5)
    assert item.served == [pytest.approx(number, abs=2 * TICK) for number in (1, 2, 3)]
    item.then = lambda now: now - 100
    loop.advance(1)
    assert len(item.served) <= 3 + 1 / TICK + 1


def test_an_item_may_cancel_another_of_its_tick(loop: ManualLoop, wheel: Wheel) -> None:
    """The bucket is already being served: what was cancelled or moved in it is not served."""
    items: list[Item] = []

    def end_the_others(now: float) -> None:
        cancelled, moved = (item for item in items if not item.served)
        wheel.cancel(cancelled)
        wheel.set(moved, now + 1)

    items += [Item(loop, end_the_others) for _ in range(3)]
    for item in items:
        wheel.set(item, loop.time() + 1)
    loop.advance(1.5)
    assert sorted(len(item.served) for item in items) == [0, 0, 1]
    for item in items:
        item.then = lambda now: None
    loop.advance(5)
    assert sorted(len(item.served) for item in items) == [0, 1, 1]


def test_an_item_may_cancel_the_last_one(loop: ManualLoop, wheel: Wheel) -> None:
    other = Item(loop)
    item = Item(loop, lambda now: wheel.cancel(other))
    wheel.set(item, loop.time() + 1)
    wheel.set(other, loop.time() + 2)
    loop.advance(5)
    assert (other.served, loop.timers) == ([], [])


def test_an_exception_hurts_no_other(
    loop: ManualLoop, wheel: Wheel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(now: float) -> float:
        raise ValueError("broken")

    items = [Item(loop), Item(loop, fail), Item(loop)]
    for item in items:
        wheel.set(item, loop.time() + 1)
    wheel.set(items[2], loop.time() + 2)
    with caplog.at_level(logging.ERROR):
        loop.advance(3)
    assert [len(item.served) for item in items] == [1, 1, 1]
    assert "broken" in caplog.text


def test_a_loop_that_calls_a_little_early(loop: ManualLoop) -> None:
    """uvloop rounds to milliseconds; what was not due yet is served when the loop calls again."""
    early = [0.0004]
    wheel = Wheel(lambda when, call: loop.call_at(when - (early.pop() if early else 0), call), loop.time)
    item = Item(loop)
    wheel.set(item, loop.time() + 1)
    loop.advance(2)
    assert item.served == [pytest.approx(1)]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["set", "sooner", "cancel"]), st.integers(0, 300)))
)
def test_any_sequence(steps: list[tuple[int, str, int]]) -> None:
    """Each item is served once, within a tick after the time that its last call left it with."""
    loop = ManualLoop()
    wheel = Wheel(loop.call_at, loop.time)
    items = [Item(loop) for _ in range(5)]
    due: dict[int, float] = {}
    for number, verb, hundredths in steps:
        when = loop.time() + hundredths / 100
        if verb == "cancel":
            wheel.cancel(items[number])
            due.pop(number, None)
        elif verb == "set" or number not in due:
            (wheel.set if verb == "set" else wheel.sooner)(items[number], when)
            due[number] = when
        else:
            wheel.sooner(items[number], when)
            due[number] = min(when, due[number])
    loop.advance(4)
    for number, item in enumerate(items):
        assert len(item.served) == (number in due)
        if number in due:
            assert 0 <= item.served[0] + item.start - due[number] < 2 * TICK
    assert loop.timers == []
