"""``metrics``: what it costs a server to count, and to be scraped each second."""

from __future__ import annotations

import re
import socket
import tempfile
import urllib.request
from statistics import median
from typing import NamedTuple

from fastws.loadgen.plan import Plan, Scenario
from tests.faults.beside import compare, estimate
from tests.faults.harness import Missing, Record, Site, eventually, herd, row, server
from tests.kit.process import cpu_seconds


class Load(NamedTuple):
    """The next message is sent when the one before has come to everybody."""

    name: str
    path: str
    plan: Plan
    seconds: float


#: Seconds of a turn, and how many each server has.
TURN, TURNS = 0.03, 60
LOADS = (
    Load("echo", "/echo", Plan(url="", scenario=Scenario.ECHO, clients=1), 80),
    Load("to 100 clients", "/broadcast", Plan(url="", scenario=Scenario.FANOUT, clients=100), 80),
    Load("to 1,000 clients", "/broadcast", Plan(url="", scenario=Scenario.FANOUT, clients=1000), 150),
)


@row("metrics", "metrics that are scraped each second: the CPU for one message, beside a server without")
def metrics_cost(record: Record) -> None:
    for load in LOADS:
        found = compare(
            ("--metrics", "0"),
            load.path,
            load.plan,
            lambda site: f"{_metrics(site)}/metrics",
            seconds=record.choose(load.seconds, 0),
            turns=record.choose(TURNS, 5),
            turn=TURN,
        )
        more = estimate([trio.more for trio in found])
        nothing = estimate([trio.nothing for trio in found])
        scrape = median(trio.scrape for trio in found)
        # Of a second of CPU the scrape takes its part, and the messages have the rest.
        whole = (1 + more.mid) / (1 - scrape) - 1
        record.at_most(f"{load.name}: CPU more for each message", whole * 100, record.choose(1, 50), "%")
        if record.full:
            record.at_most(f"{load.name}: half the interval of 95 %", more.half * 100, 0.4, "%")
        record.note(
            f"{load.name}: without scrapes {more.mid:+.2%}, {more}; a scrape takes {scrape * 1000:.1f} ms"
        )
        record.note(
            f"{load.name}: {len(found)} comparisons; of two without metrics {nothing.mid:+.2%}, {nothing}"
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


def _metrics(site: Site) -> str:
    eventually(lambda: "Metrics on " in site.stderr(), 5)
    found = re.search(r"Metrics on (\S+)", site.stderr())
    assert found is not None
    return found[1].rstrip("/")
