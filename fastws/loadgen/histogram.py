"""Reads the counts of the C engine: an HdrHistogram of latencies, and its usual figures.

Buckets and encoding are those of HdrHistogram (https://hdrhistogram.github.io/HdrHistogram/), so that its
tools can read ``histogram_ns`` of a report. The tests compare with the package ``hdrhistogram``. That is no
dependency: it has no wheel for ARM on Linux, where an installation would need a compiler for it.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

__all__ = ["Histogram", "Slots", "decoded", "filled_slots", "merge", "summary"]

#: (slot, count) of each slot that is not empty.
Slots = list[tuple[int, int]]

#: `_loadgen_histogram.c` has the same three: 1 ns to 1 h with three significant digits.
LOWEST, HIGHEST, DIGITS = 1, 3600 * 10**9, 3
HALF_BITS = 10
#: The first words of the encoding, version 2: of the compressed form, and of what is inside of it.
COMPRESSED_COOKIE, COOKIE = 0x1C849314, 0x1C849313
#: So many slots are more than those of one hour with three digits.
MAX_SLOTS = 64 << HALF_BITS

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


def width(slot: int) -> int:
    """How many values fall into a slot."""
    return 1 << max(0, (slot >> HALF_BITS) - 1)


class Histogram:
    """Counts by slot. A slot stands for its highest value, as in HdrHistogram."""

    def __init__(self, slots: Slots) -> None:
        """``slots`` are in ascending order, each of them once."""
        self._slots = slots
        self.total_count = sum(count for _, count in slots)

    def value_at(self, percentile: float) -> int:
        """The value that this share of all values (0 to 100) does not exceed. 0: there are none."""
        wanted = max(1, int(min(percentile, 100.0) * self.total_count / 100 + 0.5))
        for slot, count in self._slots:
            wanted -= count
            if wanted <= 0:
                return lowest_value(slot) + (width(slot) - 1 if percentile else 0)
        return 0

    def maximum(self) -> int:
        return self.value_at(100.0)

    def mean(self) -> float:
        if not self.total_count:
            return 0.0
        total = sum((lowest_value(slot) + width(slot) // 2) * count for slot, count in self._slots)
        return total / self.total_count

    def encode(self) -> bytes:
        """HdrHistogram's own encoding: version 2, compressed, in base64."""
        counts = b"".join(self._encoded_counts())
        head = struct.pack(">iiiiqqd", COOKIE, len(counts), 0, DIGITS, LOWEST, HIGHEST, 1.0)
        packed = zlib.compress(head + counts)
        return base64.b64encode(struct.pack(">ii", COMPRESSED_COOKIE, len(packed)) + packed)

    def _encoded_counts(self) -> Iterator[bytes]:
        """The counts of all slots in order. A run of empty slots is one negative number."""
        next_slot = 0
        for slot, count in self._slots:
            if slot > next_slot:
                yield zigzag(next_slot - slot)
            yield zigzag(count)
            next_slot = slot + 1


def zigzag(number: int) -> bytes:
    """A signed 64-bit number in the fewest bytes, seven bits in each (ZigZag LEB128): 9 bytes at most."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 127 and len(out) < 8:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def decoded(encoded: str | None) -> Slots:
    """Return the counts of an encoded histogram: the inverse of ``Histogram.encode``.

    None has none. What is no histogram raises ``ValueError``, ``struct.error`` or ``zlib.error``.
    """
    if encoded is None:
        return []
    packed = base64.b64decode(encoded, validate=True)
    cookie, length = struct.unpack_from(">ii", packed)
    if cookie != COMPRESSED_COOKIE or length != len(packed) - 8:
        raise ValueError("a histogram of another kind")
    unpacked = zlib.decompressobj().decompress(packed[8:], 16 * MAX_SLOTS)
    cookie, size = struct.unpack_from(">ii", unpacked)
    head = struct.calcsize(">iiiiqqd")
    if cookie != COOKIE or size != len(unpacked) - head:
        raise ValueError("a histogram of another kind")
    slots: Slots = []
    slot, at = 0, head
    while at < len(unpacked):
        number, at = unzigzag(unpacked, at)
        if number > 0:
            slots.append((slot, number))
            slot += 1
        else:
            slot -= number
        if slot > MAX_SLOTS:
            raise ValueError("a histogram with too many slots")
    return slots


def unzigzag(data: bytes, at: int) -> tuple[int, int]:
    """Return the signed number that begins at an index, and the index behind it."""
    number = shift = 0
    while shift < 56:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    else:
        number |= data[at] << 56
        at += 1
    return (number >> 1) ^ -(number & 1), at


def merge(parts: Iterable[Slots]) -> Histogram:
    """One histogram of what all processes counted, in nanoseconds."""
    counts: Counter[int] = Counter()
    for part in parts:
        for slot, count in part:
            counts[slot] += count
    return Histogram(sorted(counts.items()))


def summary(histogram: Histogram) -> dict[str, float] | None:
    """The usual percentiles, the maximum and the mean, in milliseconds. None: nothing was recorded."""
    if not histogram.total_count:
        return None
    values = {name: histogram.value_at(share) / 1e6 for name, share in PERCENTILES.items()}
    return {**values, "max": histogram.maximum() / 1e6, "mean": histogram.mean() / 1e6}
