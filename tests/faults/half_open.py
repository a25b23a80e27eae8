"""F15: the clients' network goes away; nobody ends TCP."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator

from tests.faults.harness import MIB, Missing, Record, Site, eventually, herd, row, server

#: Of the two ends; the networks are those of two processes, and of nobody else.
SERVER, CLIENTS = "10.231.15.1", "10.231.15.2"
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


@row("F15", "half-open: the network of 1,000 clients goes away")
def half_open(record: Record) -> None:
    if any(shutil.which(program) is None for program in ("ip", "nsenter", "unshare")):
        raise Missing("ip, nsenter and unshare are needed")
    count = record.choose(1_000, 50)
    interval, within = record.choose((20, 45), (1, 4))
    options = ("--ws-ping-interval", str(interval), "--ws-ping-timeout", str(interval), "--host", SERVER)
    with networks() as (ours, theirs), server(*options, prefix=inside(ours)) as site:
        files, memory = site.files(), site.rss()
        with herd(site, count, prefix=inside(theirs), host=SERVER, path="/closes") as clients:
            record.equal("clients", clients.opening["opened"], count)
            time.sleep(interval * 1.2)
            subprocess.run([*inside(theirs), "ip", "link", "set", "theirs", "down"], check=True)
            gone = eventually(lambda: _closes(site) >= count, within + 15)
            record.at_most("the last one is gone after", gone, within, "s")
            record.equal("on_close was called", _closes(site), count)
            record.equal(
                "lines of the log that say so",
                len(re.findall(r"closed 1006 .ping timeout. by server", site.stdout())),
                count,
            )
            eventually(lambda: site.files() <= files, 5)
            record.at_most("files that are left", site.files() - files, 0)
            record.at_most("resident, above before", (site.rss() - memory) / MIB, 20, "MiB")


def _closes(site: Site) -> int:
    return site.stdout().count("on_close ")


@contextlib.contextmanager
def networks() -> Iterator[tuple[int, int]]:
    """Two networks with one cable between them, as the ids of the processes that hold them."""
    with contextlib.ExitStack() as stack:
        pids = []
        for _ in range(2):
            command = ["unshare", "-n", "sh", "-c", "echo ready; exec sleep 600"]
            holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            stack.callback(holder.wait)
            stack.callback(holder.kill)
            assert holder.stdout is not None
            stack.callback(holder.stdout.close)
            if holder.stdout.readline() != b"ready\n":
                raise Missing("nobody may make networks here: that needs root")
            pids.append(holder.pid)
        ours, theirs = pids
        cable = ["ip", "link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", str(theirs)]
        made = subprocess.run([*inside(ours), *cable], capture_output=True)
        if made.returncode != 0:
            raise Missing("there is no veth here")
        for pid, link, address in ((ours, "ours", SERVER), (theirs, "theirs", CLIENTS)):
            for words in (
                ["addr", "add", f"{address}/24", "dev", link],
                ["link", "set", link, "up"],
                ["link", "set", "lo", "up"],
            ):
                subprocess.run([*inside(pid), "ip", *words], check=True)
        yield ours, theirs


def inside(pid: int) -> tuple[str, ...]:
    """What runs a command in the network of a process."""
    return "nsenter", "-t", str(pid), "-n", "--"
