"""Counts of the C engine as an HdrHistogram."""

from __future__ import annotations

import struct

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.loadgen.histogram import (
    DIGITS,
    HIGHEST,
    LOWEST,
    filled_slots,
    lowest_value,
    merge,
    summary,
)


def slot_of(value: int) -> int:
    """The same arithmetic as `hist_record` in _loadgen_histogram.c."""
    bucket = max(0, value.bit_length() - 11)
    return (bucket << 10) + (value >> bucket)


@given(st.integers(0, HIGHEST))
def test_slots_are_those_of_hdrhistogram(value: int) -> None:
    slot = slot_of(value)
    assert slot_of(lowest_value(slot)) == slot
    one = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    one.record_value(value)
    assert one.get_max_value() == merge([[(slot, 1)]]).maximum()
    assert abs(lowest_value(slot) - value) <= value / 1000


def test_empty_slots_are_left_out() -> None:
    assert filled_slots(struct.pack("=5Q", 0, 3, 0, 0, 7)) == [(1, 3), (4, 7)]


@settings(max_examples=15)  # each makes two histograms of 40,000 slots
@given(st.lists(st.lists(st.integers(1, 10**10), max_size=20), min_size=1, max_size=4))
def test_merging_is_as_if_one_had_counted_all(parts: list[list[int]]) -> None:
    whole = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in (value for part in parts for value in part):
        whole.record_value(value)
    merged = merge([(slot_of(value), 1) for value in part] for part in parts)
    assert merged.total_count == whole.total_count
    assert merged.maximum() == whole.get_max_value()
    assert merged.mean() == pytest.approx(whole.get_mean_value())
    decoded = HdrHistogram.decode(merged.encode())
    assert decoded.get_total_count() == whole.get_total_count()
    for percentile in (1, 50, 90, 99, 99.9, 100):
        assert merged.value_at(percentile) == whole.get_value_at_percentile(percentile)
        assert decoded.get_value_at_percentile(percentile) == whole.get_value_at_percentile(percentile)


def test_the_summary_is_in_milliseconds() -> None:
    values = [slot_of(n * 1_000_000) for n in range(1, 101)]
    found = summary(merge([[(slot, 1) for slot in values]]))
    assert found is not None
    expected = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 100, "max": 100, "mean": 50.5}
    assert found == pytest.approx(expected, rel=1e-3)


def test_nothing_recorded_has_no_summary() -> None:
    assert summary(merge([])) is None
