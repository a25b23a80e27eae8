"""Medians, intervals and paired ratios."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import bootstrap_median, paired_ratio, spread, unpaired_ratio

positive = st.floats(0.001, 1e9)


def test_spread_is_median_and_quartiles() -> None:
    got = spread([1, 2, 3, 4, 100])
    assert (got.median, got.low, got.high, got.n) == (3, 2, 4, 5)
    assert got.percent == pytest.approx(100 / 3)


@pytest.mark.parametrize("summary", [spread, bootstrap_median])
def test_nothing_cannot_be_summarised(summary) -> None:
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_one_round_has_no_width() -> None:
    got = bootstrap_median([7.0])
    assert (got.mid, got.low, got.high, got.n) == (7, 7, 7, 1)


@given(st.lists(positive, min_size=1, max_size=12))
def test_the_interval_holds_the_median_and_stays_within_the_rounds(values: list[float]) -> None:
    got = bootstrap_median(values)
    assert min(values) <= got.low <= got.mid <= got.high <= max(values)
    assert got.mid == pytest.approx(statistics.median(values))


def test_the_same_rounds_give_the_same_interval() -> None:
    values = [random.Random(1).random() for _ in range(9)]
    assert bootstrap_median(values) == bootstrap_median(values)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(2)
    intervals = [bootstrap_median([rng.gauss(10, 1) for _ in range(15)]) for _ in range(300)]
    covered = sum(interval.low <= 10 <= interval.high for interval in intervals) / len(intervals)
    assert 0.87 <= covered <= 0.99


def test_more_rounds_make_it_narrower() -> None:
    rng = random.Random(3)
    few, many = ([rng.gauss(10, 1) for _ in range(n)] for n in (7, 200))
    width = [got.high - got.low for got in map(bootstrap_median, (few, many))]
    assert width[1] < width[0] / 2


def test_pairing_cancels_what_a_round_did_to_both() -> None:
    mood = [1.0, 3.0, 0.5, 2.0, 1.5]
    ours, theirs = {i: 2 * m for i, m in enumerate(mood)}, dict(enumerate(mood))
    got = paired_ratio(ours, theirs)
    assert got is not None and (got.low, got.mid, got.high, got.n) == (2, 2, 2, 5)
    unpaired = unpaired_ratio(list(ours.values()), list(theirs.values()))
    assert unpaired is not None and unpaired.high - unpaired.low > 1


def test_a_round_without_its_pair_is_left_out() -> None:
    got = paired_ratio({0: 10.0, 1: 99.0, 2: 30.0}, {0: 5.0, 2: 15.0, 3: 1.0})
    assert got is not None and (got.mid, got.n) == (2, 2)


@pytest.mark.parametrize("theirs", [{}, {1: 5.0}, {0: 0.0}])
def test_no_pair_no_ratio(theirs: dict[int, float]) -> None:
    assert paired_ratio({0: 1.0}, theirs) is None


def test_unpaired_needs_both_sides() -> None:
    assert unpaired_ratio([], [1.0]) is unpaired_ratio([1.0], []) is unpaired_ratio([1.0], [0.0]) is None
    got = unpaired_ratio([4.0, 4.0], [2.0, 2.0])
    assert got is not None and got.mid == 2
