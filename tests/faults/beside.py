"""Compares what servers need for one message: in short turns, one after the other, on the same core.

A server alone on its core sleeps between two messages, and how long it takes to wake up differs from second
to second by more than what is to be found. With its clients on its core one of both always runs.
"""

from __future__ import annotations

import os
import random
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import fmean, median

from fastws.loadgen.plan import Plan
from fastws.loadgen.procstat import cpu_seconds
from fastws.loadgen.target import resolve
from fastws.loadgen.worker import Share, make_generator
from tests.faults.harness import Site, server

__all__ = ["Estimate", "Trio", "compare", "estimate"]

#: Before each turn, which begins with what another one has left in the caches.
LEAD_SECONDS = 0.01
FIRST_SECONDS = 0.3
CLOSE_SECONDS = 1.0
#: Of the server with the option, when a trio has had its turns.
SCRAPES = 5


@dataclass(frozen=True)
class Trio:
    """Microseconds of CPU for one message: of two servers without the option, and of one with it."""

    plain: tuple[float, float]
    other: float
    #: Seconds of CPU for one scrape of the latter.
    scrape: float = 0.0

    @property
    def more(self) -> float:
        """How much more the other one needs."""
        return self.other / (self.plain[0] * self.plain[1]) ** 0.5 - 1

    @property
    def nothing(self) -> float:
        """How much more one of two that are equal needs: what the method says where there is nothing."""
        return self.plain[0] / self.plain[1] - 1


@dataclass(frozen=True)
class Estimate:
    """A mean without the highest and the lowest fifth, and the interval in which it is with 95 %."""

    mid: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low:+.2%} to {self.high:+.2%}"

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


class Clients:
    """The clients of one server. They stay open, and rest between two turns."""

    def __init__(self, site: Site, path: str, plan: Plan) -> None:
        self._pid = site.pid
        plan = replace(plan, url=f"ws://127.0.0.1:{site.port}{path}")
        self._generator = make_generator(Share(plan, (resolve(plan.url),), 0, time.monotonic_ns()))
        self._generator.open(plan.at_once)

    def turn(self, seconds: float) -> float:
        """Send for so long; return microseconds of CPU for one message that has come."""
        self._run(LEAD_SECONDS)
        before, received = cpu_seconds(self._pid), self._received()
        self._run(seconds)
        return (cpu_seconds(self._pid) - before) / (self._received() - received) * 1e6

    def scrape(self, url: str) -> float:
        """Scrape a server that has just been busy; return seconds of its CPU."""
        self._run(LEAD_SECONDS)
        before = cpu_seconds(self._pid)
        urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": OPENMETRICS})).read()
        return cpu_seconds(self._pid) - before

    def close(self) -> None:
        self._generator.close(CLOSE_SECONDS)

    def _run(self, seconds: float) -> None:
        begin = time.monotonic_ns()
        end = begin + int(seconds * 1e9)
        self._generator.run(begin=begin, start=begin, end=end, drain=5, until_drained=True)

    def _received(self) -> int:
        return self._generator.counters()["received"]


CORES = sorted(os.sched_getaffinity(0))
#: What Prometheus asks for.
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def compare(
    option: Sequence[str],
    path: str,
    plan: Plan,
    scraped: Callable[[Site], str],
    *,
    seconds: float,
    turns: int,
    turn: float,
) -> list[Trio]:
    """Compare servers with ``option`` and without it, until ``seconds`` are over.

    Three fresh ones each time: where the interpreter's objects lie moves a figure by a percent.

    Args:
        path: of the clients' URL.
        plan: their load.
        scraped: what is scraped of a server with the option.
        turns: of each server, in an order that is new each time.
        turn: seconds of one.
    """
    ended, found = time.monotonic() + seconds, []
    os.sched_setaffinity(0, CORES[-1:])
    try:
        while not found or time.monotonic() < ended:
            found.append(_trio(option, path, plan, scraped, turns, turn))
    finally:
        os.sched_setaffinity(0, CORES)
    return found


def _trio(
    option: Sequence[str],
    path: str,
    plan: Plan,
    scraped: Callable[[Site], str],
    turns: int,
    turn: float,
) -> Trio:
    with ExitStack() as stack:
        #: The third has the option; who starts first is left to chance.
        made: dict[int, Clients] = {}
        url = ""
        for index in random.sample(range(3), 3):
            site = stack.enter_context(server("--no-access-log", *(option if index == 2 else ())))
            url = scraped(site) if index == 2 else url
            os.sched_setaffinity(site.pid, CORES[-1:])
            made[index] = Clients(site, path, plan)
            stack.callback(made[index].close)
        costs: dict[int, list[float]] = {index: [] for index in made}
        for clients in made.values():
            clients.turn(FIRST_SECONDS)
        for _ in range(turns):
            for index in random.sample(range(3), 3):
                costs[index].append(made[index].turn(turn))
        scrapes = [made[2].scrape(url) for _ in range(SCRAPES)]
    return Trio((median(costs[0]), median(costs[1])), median(costs[2]), fmean(scrapes))


def estimate(values: Sequence[float], samples: int = 2000) -> Estimate:
    """Return what the values say, by drawing as many of them again and again."""
    chance = random.Random(1)
    drawn = sorted(_trimmed(chance.choices(values, k=len(values))) for _ in range(samples))
    return Estimate(_trimmed(values), drawn[samples * 25 // 1000], drawn[samples * 975 // 1000])


def _trimmed(values: Sequence[float]) -> float:
    cut = len(values) // 5
    return fmean(sorted(values)[cut : len(values) - cut])
