"""``metrics``: what it costs a server to count, and to be scraped each second."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from statistics import median

from tests.faults.harness import Missing, Record, Site, eventually, herd, row, server, start_bench
from tests.kit.process import cpu_seconds

#: By name: the path and the load. The next message is sent when the one before has come to everybody: each
#: turn of either server has one, whoever is faster.
LOADS = {
    "echo": ("/echo", "echo --clients 1 --depth 1"),
    "to 100 clients": ("/broadcast", "fanout --clients 100 --window 1"),
    "to 1,000 clients": ("/broadcast", "fanout --clients 1000 --window 1"),
}


@row("metrics", "metrics that are scraped each second: the CPU for one message, beside a server without")
def metrics_cost(record: Record) -> None:
    servers, turns = record.choose((4, 2), (1, 1))
    ratios: dict[str, list[float]] = {name: [] for name in LOADS}
    for _ in range(servers):
        # Fresh ones: where the interpreter's objects lie moves a figure by a percent.
        with (
            server("--no-access-log") as plain,
            server("--no-access-log", "--metrics", "0") as metered,
            scraped(metered),
        ):
            for _ in range(turns):
                for name, (path, load) in LOADS.items():
                    # One core may be faster: each server is on either of them.
                    costs = [
                        _cost(order, path, load, record.choose("2s", "0.3s"))
                        for order in ((plain, metered), (metered, plain))
                    ]
                    both = [cost[metered.pid] / cost[plain.pid] for cost in costs]
                    ratios[name].append(math.prod(both) ** 0.5 - 1)
    for name, found in ratios.items():
        record.at_most(f"{name}: CPU more for each message", median(found) * 100, record.choose(1, 50), "%")
        record.note(f"{name}: {len(found)} comparisons, from {min(found):+.1%} to {max(found):+.1%}")


@row("scrape", "a scrape, and a look of `fastws top`, beside 8,000 connections")
def scrape_cost(record: Record) -> None:
    crowd = record.choose(8_000, 100)
    with (
        tempfile.TemporaryDirectory() as folder,
        server("--no-access-log", "--metrics", "0", "--control", f"{folder}/control") as site,
    ):
        before = _scrapes(site)
        with herd(site, crowd, at_once=200) as clients:
            if clients.opening["opened"] < crowd:
                raise Missing(f"{crowd:,} clients need more open files")
            record.at_most("CPU of one scrape", _scrapes(site), 20, "ms")
            record.note(f"without connections {before:.2f} ms")
            # `fastws top` asks once a second.
            record.at_most("CPU for one look of top", _looks(site, f"{folder}/control"), 10, "ms")


def _scrapes(site: Site, number: int = 50) -> float:
    """Milliseconds of CPU for one scrape."""
    url = f"{_metrics(site)}/metrics"
    urllib.request.urlopen(url).read()
    before = cpu_seconds(site.pid)
    for _ in range(number):
        urllib.request.urlopen(url).read()
    return (cpu_seconds(site.pid) - before) / number * 1000


def _looks(site: Site, path: str, number: int = 50) -> float:
    """Milliseconds of CPU for one answer to `fastws top`."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as lines:
        sock.connect(path)

        def look() -> None:
            print('{"ask": "top"}', file=lines, flush=True)
            assert "clients" in lines.readline()

        look()
        before = cpu_seconds(site.pid)
        for _ in range(number):
            look()
        return (cpu_seconds(site.pid) - before) / number * 1000


def _cost(sites: tuple[Site, Site], path: str, load: str, seconds: str) -> dict[int, float]:
    """Microseconds of CPU for one message, of both at the same time, each with its clients on one core."""
    args = [*load.split(), "--duration", seconds, "--warmup", "0.3s"]
    cores = sorted(os.sched_getaffinity(0))
    running = []
    for site, core in zip(sites, (cores[0], cores[-1]), strict=True):
        running.append(start_bench(site, *args, "--pid", str(site.pid), path=path))
        for pid in (site.pid, running[-1].pid):
            os.sched_setaffinity(pid, {core})
    found = [json.loads(process.communicate(timeout=60)[0])["server"]["cpu_us"] for process in running]
    return {site.pid: cost for site, cost in zip(sites, found, strict=True)}


def _metrics(site: Site) -> str:
    eventually(lambda: "Metrics on " in site.stderr(), 5)
    found = re.search(r"Metrics on (\S+)", site.stderr())
    assert found is not None
    return found[1].rstrip("/")


@contextlib.contextmanager
def scraped(site: Site) -> Iterator[None]:
    """Scrape each second while the block runs."""
    ended, url = threading.Event(), f"{_metrics(site)}/metrics"

    def scrape() -> None:
        while not ended.wait(1.0):
            urllib.request.urlopen(url).read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
