"""Makes an HdrHistogram of the counts of the C engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    HdrHistogram = Any  # the package has no types
else:
    from hdrh.histogram import HdrHistogram

__all__ = ["HdrHistogram", "Slots", "filled_slots", "merge", "summary"]

#: (slot, count) of each slot that is not empty.
Slots = list[tuple[int, int]]

#: `_loadgen_histogram.c` has the same three: 1 ns to 1 h with three significant digits.
LOWEST, HIGHEST, DIGITS = 1, 3600 * 10**9, 3
HALF_BITS = 10

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


def filled_slots(counts: bytes) -> Slots:
    """Read an array of unsigned 64-bit counts."""
    return [(slot, count) for slot, count in enumerate(memoryview(counts).cast("Q")) if count]


def lowest_value(slot: int) -> int:
    """The lowest value that falls into a slot."""
    bucket = (slot >> HALF_BITS) - 1
    if bucket < 0:
        return slot
    return ((slot & ((1 << HALF_BITS) - 1)) + (1 << HALF_BITS)) << bucket


def merge(parts: Iterable[Slots]) -> HdrHistogram:
    """One histogram of what all processes counted, in nanoseconds."""
    histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for part in parts:
        for slot, count in part:
            histogram.record_value(lowest_value(slot), count)
    return histogram


def summary(histogram: HdrHistogram) -> dict[str, float] | None:
    """The usual percentiles, the maximum and the mean, in milliseconds. None: nothing was recorded."""
    if not histogram.total_count:
        return None
    values = {name: histogram.get_value_at_percentile(share) / 1e6 for name, share in PERCENTILES.items()}
    return {**values, "max": histogram.get_max_value() / 1e6, "mean": histogram.get_mean_value() / 1e6}
