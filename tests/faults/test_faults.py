"""The rows that cost seconds, in their short form; ``python -m tests.faults --full`` runs all as they say.

Short forms of F3, F8 and F11 on both loops stand in ``tests/live/test_loads.py``.
"""

from __future__ import annotations

import shutil

import pytest

from tests.faults.beside import Trio, estimate
from tests.faults.harness import Missing, Record
from tests.faults.rows import ALL

pytestmark = pytest.mark.live

#: Short forms that hold on two shared cores: what they check are counts, not milliseconds.
QUICK = ["F7", "F9", "F10", "F12", "F13", "F14", "F15", "F16", "bus", "keyed", "strangers"]


def test_there_is_each_row_once() -> None:
    wanted = [f"F{number}" for number in (*range(1, 6), *range(7, 20))]
    wanted[5:5] = [
        "F6-latency-nats",
        "F6-latency-redis",
        "F6-nats",
        "F6-presence-nats",
        "F6-presence-redis",
        "F6-redis",
    ]
    assert list(ALL) == [
        *wanted,
        "bullets",
        "bus",
        "bus-stopped",
        "documents",
        "keyed",
        "metrics",
        "scrape",
        "slowhttptest",
        "strangers",
        "testssl",
    ]


def test_an_estimate_is_not_moved_by_what_is_far_off() -> None:
    values = [0.01 + 0.001 * number for number in range(-5, 6)]
    calm, moved = estimate(values), estimate([*values[:-1], 5.0])
    assert calm.mid == pytest.approx(0.01) and calm.low < 0.01 < calm.high
    assert moved.mid == pytest.approx(calm.mid, abs=0.001)
    assert 0 < calm.half < estimate([10 * value for value in values]).half


def test_what_a_comparison_says() -> None:
    trio = Trio((4.0, 1.0), 3.0)
    assert (trio.more, trio.nothing) == (0.5, 3.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_row(name: str) -> None:
    if name == "F7" and shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    record = Record(full=False)
    try:
        ALL[name].run(record)
    except Missing as missing:
        pytest.skip(str(missing))
    assert record.checks
    assert [check for check in record.checks if not check.held] == []
