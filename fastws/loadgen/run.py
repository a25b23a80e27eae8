"""One run from the first connection to the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastws.loadgen.fleet import Fleet
from fastws.loadgen.plan import LoadgenError, Plan, Scenario
from fastws.loadgen.procstat import ServerProbe, Usage
from fastws.loadgen.result import Moment, Result, ShareReport, build
from fastws.loadgen.target import resolve
from fastws.loadgen.verdict import Load
from fastws.loadgen.worker import PROGRESS_SECONDS

__all__ = ["Progress", "run"]

#: From the order to the first message, so that all processes begin together.
START_DELAY = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """What there is to show while a run goes on. ``phase``: opening, warm-up, measuring or finishing."""

    phase: str
    seconds: float
    clients: int
    errors: int
    moment: Moment | None = None


def run(plan: Plan, watch: Callable[[Progress], None] = lambda progress: None) -> Result:
    """Make the run, calling ``watch`` about twice a second.

    KeyboardInterrupt ends it early, with the result of what was measured until then; a second one is raised.
    Raises LoadgenError when there is nothing to report: no such host, no client that opened, too few file
    descriptors.
    """
    target = resolve(plan.url)
    probe = ServerProbe(plan.pid) if plan.pid is not None else None
    before = probe() if probe else None
    with Fleet(plan, target) as fleet:
        return _Run(plan, fleet, probe, before, watch).result()


class _Run:
    """The parent's side: what the processes have said so far, and when to look at the server."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        probe: ServerProbe | None,
        before: Usage | None,
        watch: Callable[[Progress], None],
    ) -> None:
        self._plan = plan
        self._fleet = fleet
        self._probe = probe
        self._usage = [before] if before is not None else []
        self._watch = watch
        self._latest: dict[int, dict[str, Any]] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._moments: list[Moment] = []
        self._begun = self._ticked = time.monotonic()
        self._counter = "opened" if plan.scenario in (Scenario.CONNECT, Scenario.IDLE) else "received"
        self._rates: dict[int, float] = {}
        self._interrupted = False
        self._start = self._end = float("inf")

    def result(self) -> Result:
        self._open()
        self._check_open()
        with self._interruptible():
            self._measure()
        if self._interrupted:
            self._collect()
        return build(
            self._plan,
            [report(self._done[process]) for process in sorted(self._done)],
            usage=self._usage,
            moments=self._moments,
            interrupted=self._interrupted,
        )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._interrupted = True
            self._fleet.order("stop")

    def _open(self) -> None:
        opened: set[int] = set()
        while len(opened) < self._plan.processes:
            opened |= {process for process, event in self._hear() if event == "opened"}

    def _check_open(self) -> None:
        """Without a single client there is nothing to measure: say why."""
        if self._plan.scenario is Scenario.CONNECT or self._sum("alive"):
            return
        reports = [report({**said, "marks": None, "slots": []}) for said in self._latest.values()]
        errors = build(self._plan, reports).errors
        raise LoadgenError(f"no client could open {self._plan.url}: {errors[0].text}")

    def _measure(self) -> None:
        begin = time.monotonic() + START_DELAY
        self._start = begin + self._plan.warmup
        self._end = self._start + self._plan.duration
        times = {"begin": begin, "start": self._start, "end": self._end}
        self._fleet.order("run", **{name: int(at * 1e9) for name, at in times.items()})
        self._collect()

    def _collect(self) -> None:
        """Hear all processes to their end, and look at the server at both ends of the measured time."""
        while len(self._done) < self._plan.processes:
            for _ in self._hear():
                pass
            self._look_at_server()
        # Every client was lost before the time was over.
        if self._probe is not None and len(self._usage) == 2:
            self._look(self._probe)

    def _hear(self) -> Iterator[tuple[int, str]]:
        now = time.monotonic()
        ahead = [at for at in (self._start, self._end) if at > now]
        wake = min(self._ticked + PROGRESS_SECONDS, now + 1, *ahead)
        for process, said in self._fleet.events(wake - now):
            self._note(process, said)
            yield process, said["event"]
        if time.monotonic() - self._ticked >= PROGRESS_SECONDS:
            self._tick()

    def _note(self, process: int, said: dict[str, Any]) -> None:
        before = self._latest.get(process, said)
        passed = said["at"] - before["at"]
        counted = said["counters"][self._counter] - before["counters"][self._counter]
        self._rates[process] = counted / passed if passed > 0 else 0.0
        self._latest[process] = said
        if said["event"] == "done":
            self._done[process] = said

    def _look_at_server(self) -> None:
        now = time.monotonic()
        due = (now >= self._start) + (now >= self._end) + 1
        if self._probe is not None and len(self._usage) < due:
            self._look(self._probe)

    def _look(self, probe: ServerProbe) -> None:
        try:
            self._usage.append(probe())
        except LoadgenError:
            self._probe = None  # it has ended; the errors of its clients say so

    def _tick(self) -> None:
        now = time.monotonic()
        intervals = [said["interval"] for said in self._latest.values() if "interval" in said]
        p50, p99 = (max((each[i] for each in intervals), default=0) / 1e6 for i in (1, 2))
        moment = Moment(now - self._start, sum(self._rates.values()), p50, p99, self._sum("alive"))
        phase = self._phase(now)
        if phase in ("warm-up", "measuring"):
            self._moments.append(moment)
        self._ticked = now
        errors = sum(each[2] for said in self._latest.values() for each in said["errors"])
        self._watch(Progress(phase, now - self._begun, moment.clients, errors, moment))

    def _phase(self, now: float) -> str:
        if self._end == float("inf"):
            return "opening"
        return "warm-up" if now < self._start else "measuring" if now < self._end else "finishing"

    def _sum(self, counter: str) -> int:
        return sum(said["counters"][counter] for said in self._latest.values())


def report(said: dict[str, Any]) -> ShareReport:
    """What a process said last, as values."""
    counters = said["counters"]
    if said["marks"] is None:
        first = last = counters
        load = Load(0.0, 0.0, 0.0)
    else:
        (first, *begun), (last, *ended) = said["marks"]
        wall, cpu, waited = (max(0, b - a) / 1e9 for a, b in zip(begun, ended, strict=True))
        load = Load(wall, cpu, waited)
    errors = [(kind, detail, count) for kind, detail, count in said["errors"]]
    slots = [(slot, count) for slot, count in said["slots"]]
    return ShareReport(first, last, load, counters, errors, said["note"], slots)
