"""``keyed``: last values over a link of Ethernet, to clients of which some stall and some read slowly.

Over loopback a segment is 64 KiB, and a slow client reads in steps of that.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import Any

from tests.cli.helpers import environment
from tests.faults.half_open import FETCH, SERVER, inside, networks
from tests.faults.harness import Missing, Record, row, server

#: The kernel may take a part of a write: then the rest waits for it, and nothing else. A write to who is
#: behind is one object of at most so many bytes, and ``live`` behind the last one.
PART = 64 * 1024 + 256


@row("keyed", "100 clients of 500 keys over a link with MTU 1500, of whom 20 stall and 20 read 20 KB/s")
def keyed(record: Record) -> None:
    if any(shutil.which(program) is None for program in ("ip", "nsenter", "unshare")):
        raise Missing("ip, nsenter and unshare are needed")
    clients, late, rate = record.choose((100, 20, 10_000), (20, 4, 2_000))
    seconds, stall = record.choose((20, 12), (4, 2))
    # A client that stalls is not ended for it here.
    options = ("--no-access-log", "--host", SERVER, "--timeout-write", "60")
    with (
        networks() as (ours, theirs),
        server(*options, app="tests.faults.feeds_app:routes", prefix=inside(ours)) as site,
    ):
        for pid, link in ((ours, "ours"), (theirs, "theirs")):
            words = ["mtu", "1500", "gso_max_segs", "1"]
            subprocess.run([*inside(pid), "ip", "link", "set", link, *words], check=True)
        words = ["keyed", "--topic", "table", "--moved-by", "moves", "--keys", "500", "--json", "-"]
        words += ["--clients", str(clients), "--stalled", str(late), "--slow", str(late)]
        words += ["--rate", str(rate), "--duration", f"{seconds}s", "--stall", f"{stall}s"]
        command = [*inside(theirs), sys.executable, "-m", "fastws", "bench"]
        process = subprocess.Popen(
            [*command, f"ws://{SERVER}:{site.port}/feed", *words], stdout=subprocess.PIPE, text=True,
            env=environment(),
        )  # fmt: skip
        begin = time.monotonic()
        held, queued = [], []
        while time.monotonic() - begin < seconds - 1:
            time.sleep(0.5)
            url = f"http://{SERVER}:{site.port}/counters"
            got = subprocess.run([*inside(theirs), sys.executable, "-c", FETCH, url], capture_output=True)
            counters = json.loads(got.stdout)
            held.append(counters["buffered_max"])
            queued.append(counters["peak_queue_max"])
        result: dict[str, Any] = json.loads(process.communicate(timeout=60)[0])
        record.equal("messages that were queued for one client, at most", max(queued), 0)
        what = "of the one write that a client's socket had taken a part of, the rest"
        record.at_most(what, max(held), PART, "bytes")
        record.equal("clients with the exact last values", result["exact"], clients)
        record.equal("values that came after newer ones", result["wrong"], 0)
        record.equal("clients lost", result["errors"], {})
        record.at_most("fresh values for who reads again, after (p99)", result["fresh"]["p99"], 100, "ms")
        record.at_most("age of the values of those that keep up (p99)", result["staleness"]["p99"], 50, "ms")
