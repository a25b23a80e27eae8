"""What fastws promises beside its rivals, and whether a run bears it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.cells import CELLS
from bench.model import Run
from bench.stats import Estimate, bootstrap_median, paired_ratio

__all__ = ["GOALS", "Goal", "Verdict", "judge", "rows"]


@dataclass(frozen=True, slots=True)
class Goal:
    """``ours / rival`` of a cell's metric has a bound; without a rival the figure itself has.

    Of a figure where more is better the bound is the least, of a cost it is the most. ``must`` is the
    promise, ``aim`` what is wished for; one of them may be missing.
    """

    cell: str
    metric: str
    rival: str | None
    must: float | None
    aim: float | None = None
    ours: str = "fastws"

    @property
    def at_least(self) -> bool:
        return next(m.more_is_better for m in CELLS[self.cell].metrics if m.name == self.metric)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``met`` and ``aim_met`` are None where the run has no figures for it, or there is no such bound."""

    goal: Goal
    estimate: Estimate | None
    met: bool | None
    aim_met: bool | None


def rows() -> frozenset[tuple[str, str]]:
    """Every pair of a cell and a server that some goal needs."""
    pairs = {(goal.cell, name) for goal in GOALS for name in (goal.ours, goal.rival) if name is not None}
    return frozenset(pairs)


def judge(run: Run) -> list[Verdict]:
    """Every goal of a cell that the run measured. The bad end of the interval has to meet the bound."""
    return [_verdict(run, goal) for goal in GOALS if goal.cell in run.cells]


def _verdict(run: Run, goal: Goal) -> Verdict:
    ours = run.values(goal.cell, goal.ours, goal.metric)
    if goal.rival is not None:
        estimate = paired_ratio(ours, run.values(goal.cell, goal.rival, goal.metric))
    else:
        estimate = bootstrap_median(list(ours.values())) if ours else None
    # A single failed round of ours breaks the promise: "nobody evicted" is part of it.
    failed = bool(run.failures(goal.cell, goal.ours))
    met, aim_met = (_met(goal, estimate, bound, failed=failed) for bound in (goal.must, goal.aim))
    return Verdict(goal, estimate, met, aim_met)


def _met(goal: Goal, estimate: Estimate | None, bound: float | None, *, failed: bool) -> bool | None:
    if bound is None:
        return None
    if failed:
        return False
    if estimate is None:
        return None
    return estimate.low >= bound if goal.at_least else estimate.high <= bound


def _each(cells: str, metric: str, ours: str = "fastws", /, **bounds: float) -> Iterator[Goal]:
    for cell in cells.split():
        for rival, must in bounds.items():
            yield Goal(cell, metric, rival.replace("_", "-"), must, None, ours)


def _aim(cells: str, metric: str, rival: str, aim: float, ours: str = "fastws") -> Iterator[Goal]:
    for cell in cells.split():
        yield Goal(cell, metric, rival, None, aim, ours)


_PYTHON = ("picows", "websockets", "aiohttp", "tornado", "uvicorn_websockets", "uvicorn_wsproto")

#: ``uws`` is uWebSockets in C++, which a person adds with ``--extra uws=COMMAND``.
GOALS: tuple[Goal, ...] = (
    *_each("echo-16 echo-200", "rate", picows=1.05, gorilla=1.1, socketify=1.4, aiohttp=1.4, websockets=2.2),
    *_aim("echo-16 echo-200", "rate", "uws", 0.95),
    *_each("echo-16 echo-200", "rate", "fastws-async", websockets=1.6, picows=0.75),
    *_aim("echo-16 echo-200", "rate", "fastws", 0.85, "fastws-async"),
    *_each("echo-16x16", "rate", picows=8, socketify=5),
    *_aim("echo-16x16", "rate", "uws", 0.9),
    *_each("echo-1m", "rate", websockets=1.3, picows=1.0),
    *_aim("echo-1m", "rate", "uws", 1.0),
    Goal("fanout-1", "cpu_us", "bare-fanout", 1.15, 1.05),
    *_each("fanout-1", "cpu_us", picows=0.9),
    *_each("fanout-16", "rate", picows=10, aiohttp=10, websockets=10, ws=10, socketify=1.0),
    *_each("fanout-16", "rate", gorilla_chat=1.6, gorilla_merge=1.6),
    *_aim("fanout-16", "rate", "bare-fanout", 0.95),
    *_each("room-100 room-400", "rate", socketify=15, ws=30, gorilla=30, **dict.fromkeys(_PYTHON, 30)),
    *_each("room-100", "rate", gorilla_chat=6, gorilla_merge=6),
    *_aim("room-100 room-400", "rate", "bare-fanout", 1.0),
    *_each("connect", "cpu_us", picows=0.75, websockets=0.33),
    *_aim("connect", "cpu_us", "gorilla", 1.0),
    Goal("idle", "rss_kb", None, 2.5, 1.8),
    Goal("idle-tls", "rss_kb", None, 53, 35),
    *_each("tls-echo", "rate", websockets=1.2),
    *_aim("tls-echo tls-fanout", "rate", "uws", 0.95),
    *_each("tls-fanout", "rate", websockets=5),
    *_each("deflate deflate-16", "rate", websockets=10),
    *_each("client-echo client-16 client-1m", "rate", websockets=1.1, aiohttp=1.1, picows=0.95),
    *_each("client-echo client-16 client-1m", "rate", "fastws-async", websockets=1.1, aiohttp=1.1),
    Goal("import", "import_ms", None, 60),
)
