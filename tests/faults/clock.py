"""F13 and F14: the wall clock jumps, and the whole process stands still for a while."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.faults.floods import Silent, hold
from tests.faults.harness import Missing, Record, Site, herd, row, server
from tests.live.raw import Peer

#: What the wall clock is moved by, one after the other.
JUMPS = {"+1 h": "+3600", "-1 h": "-3600", "+1 day": "+86400", "-1 day": "-86400", "30 s back": "-30"}


@row("F13", "the wall clock jumps by hours, days, and 30 s back")
def jumping(record: Record) -> None:
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if library is None:
        raise Missing("libfaketime is not installed")
    count, pause = record.choose((1_000, 6.0), (50, 1.0))
    with tempfile.TemporaryDirectory() as folder:
        setting = Path(folder) / "time"
        setting.write_text("+0")
        faked = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(setting),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        options = ("--ws-ping-interval", "2", "--ws-ping-timeout", "2", "--no-access-log")
        with server(*options, env=faked) as site, herd(site, count, kind="echo", interval=1.0) as clients:
            began = time.monotonic()
            _jump(record, site, setting, pause)
            seen, passed = clients.stats(), time.monotonic() - began
            record.equal(f"of {count:,} clients, disconnected", seen["ended"], 0)
            for what, bound in (("at least", -1), ("at most", 1)):
                wanted = passed / 2 + bound * max(1.0, passed / 20)
                check = record.at_least if bound < 0 else record.at_most
                check(f"pings for each in {passed:.0f} s, {what}", seen["pings"] / count, wanted)
            record.at_most("echo beside it, p99", seen["delays"]["p99"], 100, "ms")


def _jump(record: Record, site: Site, setting: Path, pause: float) -> None:
    """Move the clock; half a head sent before must end 10 s after it came, whatever the clock says."""
    with Silent.many(site.port, 5, b"GET / HTTP/1.1\r\n") as halves:
        for name, offset in JUMPS.items():
            setting.write_text(offset)
            time.sleep(pause / 2)
            off = _date(site) - time.time() - int(offset)
            record.at_most(f"{name}: Date is off by", abs(off), 2.0, "s")
            hold(halves, pause / 2)
        if record.full:
            hold(halves, 12 - pause * len(JUMPS))
            for bound, check in ((9.0, record.at_least), (11.0, record.at_most)):
                ages = [each.age for each in halves]
                value = min(ages) if check == record.at_least else max(ages)
                check("half a head ends after its 10 s", value, bound, "s")


def _date(site: Site) -> float:
    with Peer(site.port) as peer:
        peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = re.search(rb"(?im)^date: (.+?)\r?$", peer.response()[0] + b"\r\n")
    assert found is not None, "no Date in the response"
    return parsedate_to_datetime(found[1].decode()).timestamp()


@row("F14", "the process is stopped for 30 s, as a virtual machine is paused")
def paused(record: Record) -> None:
    count, seconds = record.choose((1_000, 30.0), (50, 3.0))
    interval = record.choose(5, 1)
    options = ("--ws-ping-interval", str(interval), "--ws-ping-timeout", str(interval), "--no-access-log")
    with server(*options) as site, herd(site, count, kind="hear", path="/echo") as clients:
        time.sleep(interval * 1.5)
        os.kill(site.pid, signal.SIGSTOP)
        time.sleep(seconds)
        before = clients.stats()
        os.kill(site.pid, signal.SIGCONT)
        time.sleep(interval * 2.5)
        after = clients.stats()
        record.equal(f"of {count:,} clients, killed", before["ended"] + after["ended"], 0)
        record.at_most("pings of one client in one second", after["ping_burst"], 1)
        record.at_least("pings for each in the 2.5 intervals after it", after["pings"] / count, 1.0)
        record.note(f"{seconds:.0f} s stopped with a ping each {interval} s and {interval} s for its pong")
