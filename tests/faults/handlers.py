"""F16: handlers that raise, never return, stand still or are cancelled."""

from __future__ import annotations

import time

from tests.faults.harness import MIB, Record, Site, eventually, herd, row, server
from tests.live.raw import CLOSE, TEXT, Peer, close_frame, frame


@row("F16", "handlers that raise, never return, block or are cancelled")
def handlers(record: Record) -> None:
    with server("--no-access-log", clean=False) as site, herd(site, 10, kind="echo", interval=0.1) as normal:
        for path in ("/raises", "/raises-later", "/is-cancelled"):
            code, seconds = _fails(site, path)
            record.equal(f"{path}: the close says", code, 1011)
            record.at_most(f"{path}: after", seconds, 1, "s")
        with Peer(site.port) as peer:
            # It never reads, and its client goes: the task must go too.
            outcome = peer.upgrade("/never-returns").exchange(close_frame(1000), 7)
            record.equal("/never-returns: the peer's close is answered", outcome.code, 1000)
        normal.stats()
        with Peer(site.port) as peer:
            peer.upgrade("/blocks").send(frame(TEXT, b"0.2"))
            peer.frame()
        time.sleep(0.3)
        seen = normal.stats()
        record.at_least("/blocks for 200 ms: the slowest echo beside it", seen["delays"]["max"], 100, "ms")
        record.equal("others lost", seen["ended"] + seen["disorder"], 0)
        _leaks(record, site, record.choose(10_000, 400))
        record.equal("process alive", site.alive(), wanted=True)


def _fails(site: Site, path: str) -> tuple[int, float]:
    with Peer(site.port) as peer:
        peer.upgrade(path)
        started = time.monotonic()
        peer.send(frame(TEXT, b"go"))
        each = peer.frame()
        seconds = time.monotonic() - started
        return (each.code if each.opcode == CLOSE else 0), seconds


def _leaks(record: Record, site: Site, count: int) -> None:
    for path in ("/raises", "/raises-later"):
        for _ in range(100):
            _fails(site, path)
    files, memory, tasks = site.files(), site.rss(), site.counters()["tasks"]
    for number in range(count):
        _fails(site, "/raises" if number % 2 else "/raises-later")
    eventually(lambda: site.files() <= files, 5)
    record.at_most(f"after {count:,} that raised: files more", site.files() - files, 0)
    record.at_most("resident, grown", (site.rss() - memory) / MIB, 5, "MiB")
    record.at_most("tasks more", site.counters()["tasks"] - tasks, 0)
    record.note(f"the log has {site.stderr().count(chr(10)):,} lines of {count + 200:,} exceptions")
