"""F1 and F2: ten thousand who only stay, and thousands who come at the same moment."""

from __future__ import annotations

import signal
import time
from typing import Any

from tests.faults.harness import MIB, Record, Site, bench, herd, row, server, start_bench

ECHO: dict[str, Any] = {"kind": "echo", "interval": 0.05}


@row("F1", "10,000 idle WebSockets, a ping each 20 s")
def idle(record: Record) -> None:
    _idle(record, tls=False, count=record.choose(10_000, 300), seconds=record.choose(180, 3))
    _idle(record, tls=True, count=record.choose(3_000, 50), seconds=record.choose(45, 2))
    if record.full:
        record.note("shortened: 3 minutes instead of 10; over TLS 3,000 clients for 45 s")


def _idle(record: Record, *, tls: bool, count: int, seconds: int) -> None:
    scheme = "wss" if tls else "ws"
    with server("--no-access-log", tls=tls) as site:
        with herd(site, 1, **ECHO):
            time.sleep(0.5)
        empty = site.rss()
        load = start_bench(
            site, "idle", "--clients", str(count), "--duration", f"{seconds}s", "--pid", str(site.pid)
        )
        with herd(site, 1, **ECHO) as normal:
            time.sleep(seconds * 0.5)
            normal.stats()
            time.sleep(seconds * 0.45)
            echo = normal.stats()["delays"]
            # Their going is no part of their staying.
            out, _ = load.communicate(timeout=seconds * 2 + 120)
        result = _json(out)
        record.equal(f"{scheme}: clients held of {count:,}", int(result["rate"]), count)
        record.equal(f"{scheme}: dropped, failed", result["lost"] + result["failed"], 0)
        grown = result["server"]["rss_mb"] - empty / MIB
        record.at_most(f"{scheme}: KiB for each", grown * 1024 / count, 80 if tls else 16, "KiB")
        if not tls:
            record.at_most("ws: resident above empty", grown, 160 if record.full else 16, "MiB")
        record.at_most(f"{scheme}: server's CPU", result["server"]["cores"] * 100, 5, "% of a core")
        record.at_most(f"{scheme}: echo beside them, p99", echo["p99"], 10, "ms")
        record.note(f"{scheme}: echo beside them, p50 {echo['p50']} ms, at most {echo['max']} ms")


def _json(text: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(text)
    return found


@row("F2", "5,000 connect at once; 10,000 come back after a restart")
def storm(record: Record) -> None:
    count = record.choose(5_000, 200)
    for tls in (False, True):
        scheme, bound = ("wss", 30) if tls else ("ws", 10)
        with server("--no-access-log", tls=tls) as site, herd(site, 20, **ECHO) as existing:
            time.sleep(0.5)
            existing.stats()
            result = _storm(site, count)
            seen = existing.stats()
            _connected(record, f"{scheme}, {count:,} at once", result, count, bound)
            record.at_most(f"{scheme}: existing clients' p99", seen["delays"]["p99"], 200, "ms")
            record.equal(f"{scheme}: existing clients lost", seen["ended"], 0)
    _restart(record, record.choose(10_000, 300))


def _storm(site: Site, count: int) -> dict[str, Any]:
    many = str(count)
    return bench(
        site, "idle", "--clients", many, "--at-once", many, "--connect-timeout", "30s", "--duration", "1s"
    )


def _connected(record: Record, what: str, result: dict[str, Any], count: int, bound: int) -> None:
    record.equal(f"{what}: connected", int(result["rate"]), count)
    record.equal(f"{what}: refused, failed", result["failed"] + result["lost"], 0)
    record.at_most(f"{what}: the last after", result["latency"]["max"] / 1000, bound, "s")


def _restart(record: Record, count: int) -> None:
    """All are there, the server is killed, and all come to its successor on the same port."""
    with server("--no-access-log", clean=False) as site:
        load = start_bench(site, "idle", "--clients", str(count), "--at-once", "1000", "--duration", "30s")
        try:
            while site.files() < count:
                assert load.poll() is None, "the clients ended early"
                time.sleep(0.05)
            port = site.port
            site.process.send_signal(signal.SIGKILL)
            site.process.wait()
        finally:
            load.kill()
            load.communicate()
    began = time.monotonic()
    with server("--no-access-log", port=port) as site:
        record.note(f"a new server on the port after {time.monotonic() - began:.2f} s")
        _connected(record, f"ws, {count:,} after a restart", _storm(site, count), count, 10)
