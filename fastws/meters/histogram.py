"""Histograms of seconds as integers: what may be shared and summed as any counter."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["BOUNDS", "HISTOGRAM_INTEGERS", "Histogram"]

#: The upper bounds of the buckets, in seconds. One more has what is above them.
BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
#: Of each: the buckets, and the sum of all seconds in nanoseconds.
HISTOGRAM_INTEGERS = len(BOUNDS) + 2
SUM = HISTOGRAM_INTEGERS - 1


class Histogram:
    """Writes to the integers of one histogram.

    Args:
        row: those of a process.
        place: where this histogram begins; None: nowhere, there is no room for it.
    """

    __slots__ = ("_place", "_row")

    def __init__(self, row: memoryview, place: int | None) -> None:
        self._row = row if place is not None else memoryview(bytearray(8 * HISTOGRAM_INTEGERS)).cast("q")
        self._place = place or 0

    def observe(self, seconds: float) -> None:
        """Add one measurement."""
        row = self._row
        row[self._place + bisect_left(BOUNDS, seconds)] += 1
        row[self._place + SUM] += int(seconds * 1e9)
