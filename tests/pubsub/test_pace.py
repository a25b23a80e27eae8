"""How often: at most so many messages in any second, and of a flood so many a second."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.pubsub.pace import Pace, Sampler, checked_rate, rest_seconds


@given(st.floats(0.01, 500), st.lists(st.floats(0, 0.3), max_size=300), st.floats(0, 1e6))
def test_never_more_in_any_second(rate: float, gaps: list[float], start: float) -> None:
    """Messages that want to leave after these gaps, each as soon as it may."""
    pace, now = Pace(rate), start
    sent: list[float] = []
    for gap in gaps:
        now = max(now + gap, pace.due())
        pace.sent(now, 1)
        sent.append(now)
    window = max(1.0, 1 / rate)
    for index, time in enumerate(sent):
        # A sum of many small numbers may be the smallest part of a second short: with more than 100.
        inside = [each for each in sent[index:] if each < time + window - (0 if rate < 100 else 1e-6)]
        assert len(inside) <= max(1, int(rate))


def test_the_next_one_is_an_interval_away() -> None:
    pace = Pace(10)
    assert pace.due() < 0
    pace.sent(5.0, 1)
    assert pace.due() == pytest.approx(5.1)
    pace.sent(5.1, 3)
    assert pace.due() == pytest.approx(5.2)


@pytest.mark.parametrize(
    ("rate", "error"),
    [(0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("5", TypeError), (True, TypeError)],
)
def test_bad_rates(rate: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_rate is"):
        checked_rate("max_rate", rate)


def test_of_a_flood_so_many_evenly_spread() -> None:
    sampler = Sampler(30)
    passed = [number for number in range(50_000) if sampler.lets_through(number / 5000)]
    assert 300 <= len(passed) <= 304
    gaps = [later - earlier for earlier, later in pairwise(passed[4:])]
    assert set(gaps) <= {166, 167, 168}


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(1, 0.008), (10, 0.008), (20, 0.016), (30, 0.016), (100, 0.005), (250, 0.002), (251, 0)],
)
def test_how_long_a_sender_rests(rate: float, seconds: float) -> None:
    assert rest_seconds(rate) == pytest.approx(seconds)


@pytest.mark.parametrize("rate", [20, 30, 50, 100, 250])
def test_who_rests_is_let_through_as_often(rate: int) -> None:
    sampler, rest = Sampler(rate), rest_seconds(rate)
    looks = [look * rest for look in range(int(10 / rest))]
    passed = sum(sampler.lets_through(now) for now in looks for _ in range(5))
    assert 10 * rate - 1 <= passed <= 10 * rate + rate / 10 + 1


def test_what_is_no_flood_passes() -> None:
    sampler = Sampler(30)
    assert all(sampler.lets_through(number / 29) for number in range(500))
    sampler = Sampler(0.5)
    assert [sampler.lets_through(number) for number in range(6)] == [True, False, True, False, True, False]
