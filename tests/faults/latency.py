"""F6: how much later another node has a message than where the broker's library is used alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.crossing import BARE, HISTORY, PLAIN, STORED, measure
from tests.faults.harness import Missing, Record, row
from tests.kit.nats import Nats
from tests.kit.redis import Redis

US = 1000
#: Times what the library needs.
MOST = 1.5


@row("F6-latency-nats", "from one node to another by NATS, beside nats-py alone")
def nats(record: Record) -> None:
    _crossing(record, Nats, "nats-server", STORED)


@row("F6-latency-redis", "from one node to another by Redis, beside redis-py alone")
def redis(record: Record) -> None:
    _crossing(record, Redis, "redis-server", BARE)


def _crossing(record: Record, make: Any, program: str, beside: str) -> None:
    """``beside``: what a topic with a history is compared with."""
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as name, make(Path(name) / "server") as server:
        took = measure(server.url, record.choose(1000, 50))
    p50 = {kind: median([float(each) for each in found]) / US for kind, found in took.items() if found}
    figures = ", ".join(f"{kind} {took:.0f} µs" for kind, took in p50.items())
    record.equal("kinds that were heard", sorted(p50), sorted({BARE, beside, PLAIN, HISTORY}))
    plain, history = p50[PLAIN] / p50[BARE], p50[HISTORY] / p50[beside]
    if record.full:
        record.at_most(f"plain topics: p50, times that of {program} alone", plain, MOST)
        record.at_most("with a history: p50, times that", history, MOST)
    record.note(f"p50: {figures}; {plain:.2f} and {history:.2f} times")
