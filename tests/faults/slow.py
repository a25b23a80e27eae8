"""F3 and F4: clients that read nothing, or not enough, beside those that do."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.harness import MIB, Record, Site, eventually, herd, row, server
from tests.kit.process import sampled_rss

#: As over the internet: segments of an Ethernet and a receive buffer that is soon full.
NARROW: dict[str, Any] = {"receive_buffer": 8192, "segment": 1400}


@row("F3", "1,000 who never read beside 1,000 who do, 20 messages of 1 KiB a second")
def deaf(record: Record) -> None:
    count, seconds = record.choose((1_000, 15), (60, 3))
    with server("--no-access-log") as site, herd(site, count, path="/broadcast") as fast:
        fast.tell("publish")
        time.sleep(2)
        fast.stats()
        time.sleep(seconds)
        alone = fast.stats()
        before = site.rss()
        with (
            sampled_rss(site.pid) as watched,
            herd(site, count, path="/broadcast", kind="deaf", **NARROW),
        ):
            joined = time.monotonic()
            fast.stats()
            full_after = eventually(lambda: site.counters()["buffered_max"] > 0, 60)
            gone = eventually(lambda: site.counters()["evicted"] >= count, record.choose(60, 0))
            time.sleep(max(0.0, seconds - (time.monotonic() - joined)))
            beside = fast.stats()
        evicted = site.counters()["evicted"]
        fast.tell("hush")
        time.sleep(record.choose(10, 3))
        whole = fast.stats()
        record.at_most(f"p99 of {count:,} fast ones beside the slow", beside["delays"]["p99"], 100, "ms")
        alone_p99 = max(alone["delays"]["p99"], 5.0)
        record.at_most("p99, times that without slow ones", beside["delays"]["p99"] / alone_p99, 2)
        record.equal("out of order or missing at the fast ones", beside["disorder"] + whole["disorder"], 0)
        record.equal("fast ones lost", whole["ended"], 0)
        if record.full:
            # In the short form there is no time for it; tests/live/test_loads.py looks at an eviction.
            record.equal("slow ones evicted, by the counter", evicted, count)
            record.at_most("all of them, after the first socket refused bytes", gone, 15, "s")
        record.at_most("resident, at the peak", (max(watched.samples) - before) / MIB, 300, "MiB")
        record.at_most("resident, afterwards", (site.rss() - before) / MIB, 20, "MiB")
        record.note(
            f"without slow ones p99 {alone['delays']['p99']} ms (counted as 5 ms at least); the first socket "
            f"was full {full_after:.1f} s after they came"
        )


@row("F4", "100 who read 1 KiB a second of 20")
def sipping(record: Record) -> None:
    for path, policy in (("/broadcast", "evict"), ("/dropping", "drop oldest")):
        _sip(record, path, policy)


def _sip(record: Record, path: str, policy: str) -> None:
    count, fast_ones, seconds = record.choose((100, 100, 45), (10, 20, 3))
    with server("--no-access-log") as site, herd(site, fast_ones, path=path) as fast:
        fast.tell("publish")
        time.sleep(2)
        fast.stats()
        with herd(site, count, path=path, kind="sip", **NARROW) as slow:
            held = _most_held(site, seconds)
            sipped, seen, counters = slow.stats(), fast.stats(), site.counters()
        # A message more may wait than the limit says: one always may (config.Limits).
        limit = 1 * MIB + 64 * 1024
        record.at_most(f"{policy}: bytes that waited for one, at most", held / 1024, limit / 1024, "KiB")
        record.at_most(f"{policy}: fast ones' p99", seen["delays"]["p99"], 100, "ms")
        record.equal(f"{policy}: fast ones' disorder, lost", (seen["disorder"], seen["ended"]), (0, 0))
        record.equal(f"{policy}: disorder at the slow ones", sipped["disorder"], 0)
        if record.full and policy == "evict":
            record.equal(f"{policy}: evicted", counters["evicted"], count)
        elif record.full:
            record.equal(f"{policy}: slow ones lost", sipped["ended"], 0)
            dropped = sum_dropped(site)
            record.at_least(f"{policy}: messages dropped", dropped, 1)


def _most_held(site: Site, seconds: float) -> float:
    held, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        held = max(held, site.counters()["buffered_max"])
        time.sleep(0.2)
    return held


def sum_dropped(site: Site) -> int:
    """Dropped messages count when their socket closes."""
    eventually(lambda: site.counters()["messages_dropped"] > 0, 5)
    dropped: int = site.counters()["messages_dropped"]
    return dropped
