"""``metrics``: what it costs a server to count, and to be scraped each second."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator

from tests.faults.harness import Missing, Record, Site, eventually, herd, median, row, server, start_bench
from tests.kit.process import cpu_seconds

#: By name: the path and the load. Each message is sent when it is due, so that both servers do the same.
LOADS = {
    "echo, 5,000 a second": ("/echo", "echo --clients 50 --rate 5000"),
    "a room of 100, 200 a second": ("/broadcast", "room --clients 100 --rate 200"),
    "fan-out to 1,000, 50 a second": ("/broadcast", "fanout --clients 1000 --rate 50"),
}


@row("metrics", "metrics that are scraped each second: what they cost a server beside one without")
def metrics_cost(record: Record) -> None:
    servers, turns = record.choose((4, 4), (1, 1))
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in LOADS}
    for _ in range(servers):
        # Fresh ones: where the interpreter's objects lie moves a figure by a percent.
        with (
            server("--no-access-log") as plain,
            server("--no-access-log", "--metrics", "0") as metered,
            scraped(metered),
        ):
            for site in (plain, metered):
                # Both on one core, so that no other process is nearer to one of them.
                os.sched_setaffinity(site.pid, {min(os.sched_getaffinity(0))})
            for turn in range(turns):
                # Who begins changes.
                order = (plain, metered) if turn % 2 else (metered, plain)
                for name, (path, load) in LOADS.items():
                    cores = _cores(order, path, load, record.choose("2s", "0.3s"))
                    pairs[name].append((cores[plain.pid], cores[metered.pid]))
    for name, found in pairs.items():
        more = median([metered - plain for plain, metered in found]) * 100
        record.at_most(f"{name}: CPU more", more, 1, "% of a core")
        usual = median([plain for plain, _ in found])
        spread = sorted(metered / plain - 1 for plain, metered in found)
        record.note(
            f"{name}: {len(found)} pairs at the same time; without metrics {usual:.1%} of a core; with them "
            f"{median(spread):+.1%} of that, from {spread[0]:+.1%} to {spread[-1]:+.1%}"
        )


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


def _cores(sites: tuple[Site, Site], path: str, load: str, seconds: str) -> dict[int, float]:
    """How many cores each of them uses under the same load, at the same time."""
    args = [*load.split(), "--duration", seconds, "--warmup", "0.5s"]
    running = [start_bench(site, *args, "--pid", str(site.pid), path=path) for site in sites]
    found = [json.loads(process.communicate(timeout=60)[0])["server"]["cores"] for process in running]
    return {site.pid: cores for site, cores in zip(sites, found, strict=True)}


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
