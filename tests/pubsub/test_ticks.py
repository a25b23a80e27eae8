"""Ticks of topics that collect what is published."""

from __future__ import annotations

import pytest

from fastws.pubsub.gate import Gate
from fastws.pubsub.ticks import Tickers
from fastws.pubsub.topic import Topic
from tests.kit import ManualLoop


class Collecting:
    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_one_timer_for_all_and_none_without(loop: ManualLoop) -> None:
    tickers = Tickers()
    ticker = tickers.of(0.1)
    assert tickers.of(0.1) is ticker
    assert tickers.of(0.2) is not ticker
    one, two = Collecting(), Collecting()
    for _ in range(3):
        ticker.add(one)
        ticker.add(two)
    loop.advance(0.05)
    assert (one.released, two.released) == (0, 0)
    loop.advance(0.06)
    assert (one.released, two.released) == (1, 1)
    loop.advance(1)
    ticker.add(one)
    tickers.release()
    assert (one.released, two.released) == (2, 1)
    tickers.release()
    loop.advance(1)
    assert one.released == 2


def test_another_loop_goes_on() -> None:
    """What waited on a loop that has ended leaves with the first tick of the next one."""
    ticker = Tickers().of(0.1)
    one, two = Collecting(), Collecting()
    with ManualLoop():  # type: ignore[abstract]
        ticker.add(one)
    with ManualLoop() as loop:  # type: ignore[abstract]
        ticker.release()
        assert one.released == 0
        ticker.add(two)
        loop.advance(0.1)
        assert (one.released, two.released) == (1, 1)


def test_what_fails_keeps_nothing_from_the_others(loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
    ticker = Tickers().of(0.1)
    gate = Gate(Topic("t", None, None, None), None, ticker)
    said: list[str] = []

    def fails() -> None:
        raise MemoryError("no room")

    gate.collect(fails)
    gate.collect(lambda: said.append("behind it"))
    other = Collecting()
    ticker.add(other)
    loop.advance(0.1)
    assert (said, other.released, gate.is_open) == (["behind it"], 1, False)
    assert "cannot be sent" in caplog.text


def test_ticks_are_an_interval_apart_while_changes_keep_coming(loop: ManualLoop) -> None:
    """Else each round would be longer by the time until the first change after a tick."""
    ticker = Tickers().of(0.1)
    one = Collecting()
    ticker.add(one)
    loop.advance(0.1)
    loop.advance(0.06)
    ticker.add(one)  # 60 ms behind the tick: the next one is due in 40
    loop.advance(0.039)
    assert one.released == 1
    loop.advance(0.002)
    assert one.released == 2
    loop.advance(0.3)
    ticker.add(one)  # after a pause it waits for others
    loop.advance(0.099)
    assert one.released == 2
    loop.advance(0.002)
    assert one.released == 3
