"""One run from the first connection to the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastws.loadgen.fleet import Fleet
from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.procstat import ServerProbe, Usage
from fastws.loadgen.result import Moment, Result, ShareReport, build, in_sum
from fastws.loadgen.target import resolve
from fastws.loadgen.validity import Load
from fastws.loadgen.worker import PROGRESS_SECONDS

__all__ = ["Progress", "run"]

#: From the order to the first message, so that all processes begin together.
START_DELAY = 0.05
#: The same where the processes have long been there, and wait.
TURN_DELAY = 0.002
#: How long the answers to what was sent in the measured time may still come.
DRAIN_SECONDS = 2.0
#: The same in a turn of a room, which ends with a round: of a slow server that takes some seconds.
ROUND_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What there is to show while a run goes on. ``phase``: opening, warm-up, measuring or finishing."""

    phase: str
    seconds: float
    clients: int
    errors: int
    moment: Moment | None = None


def run(
    plan: Plan,
    watch: Callable[[Progress], None] = lambda progress: None,
    turns: Iterable[object] | None = None,
) -> Result:
    """Make the run, calling ``watch`` about twice a second.

    With ``turns`` it is made in as many pieces, each begun when the iterable yields: so several servers can
    be measured in turn, each with clients that stay, on a machine that is not as fast one minute as the
    next. A piece lasts for the plan's duration, and until the answers to all that was sent in it are there;
    the figures are those of all pieces together. The warm-up is a piece before the first, which does not
    count. ``watch`` is for a run in one piece.

    KeyboardInterrupt ends it early, with the result of what was measured until then; a second one is raised.
    Raises LoadgenError when there is nothing to report: no such host, no client that opened, too few file
    descriptors. Raises PlanError for turns of a fan-out that several processes hear.
    """
    if turns is not None and plan.scenario is Scenario.FANOUT and plan.processes > 1:
        raise PlanError("a fan-out in turns needs one process: another does not know when all is heard")
    target = resolve(plan.url)
    probe = ServerProbe(plan.pid) if plan.pid is not None else None
    before = probe() if probe else None
    with Fleet(plan, target) as fleet:
        return _Run(plan, fleet, probe, before, watch).result(turns)


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
        #: What each process counted in the turns so far.
        self._turns: dict[int, list[ShareReport]] = {}

    def result(self, turns: Iterable[object] | None) -> Result:
        self._open()
        self._check_open()
        with self._interruptible():
            if turns is None:
                self._measure()
            else:
                self._take_turns(turns)
        if self._interrupted:
            self._collect()
        return build(
            self._plan,
            self._reports() if turns is None else self._reports_of_turns(),
            usage=self._usage,
            moments=self._moments,
            interrupted=self._interrupted,
        )

    def _reports(self) -> list[ShareReport]:
        return [report(self._done[process]) for process in sorted(self._done)]

    def _reports_of_turns(self) -> list[ShareReport]:
        if not self._turns:
            raise LoadgenError("no turn was taken: there is nothing to report")
        return [in_sum(self._turns[process]) for process in sorted(self._turns)]

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
        reports = [report({**said, "snapshots": None, "slots": []}) for said in self._latest.values()]
        errors = build(self._plan, reports).errors
        raise LoadgenError(f"no client could open {self._plan.url}: {errors[0].text}")

    def _measure(self) -> None:
        begin = time.monotonic() + START_DELAY
        self._start = begin + self._plan.warmup
        self._end = self._start + self._plan.duration
        self._order(begin, self._start, self._end, DRAIN_SECONDS)
        self._collect()

    def _order(
        self, begin: float, start: float, end: float, drain: float, *, until_drained: bool = False
    ) -> None:
        times = {"begin": begin, "start": start, "end": end}
        nanoseconds = {name: int(at * 1e9) for name, at in times.items()}
        self._fleet.order("run", **nanoseconds, drain=drain, until_drained=until_drained)

    def _take_turns(self, turns: Iterable[object]) -> None:
        if self._plan.warmup:
            self._turn(self._plan.warmup, counted=False)
        busy = 0.0
        for _ in turns:
            before = self._usage_now()
            self._turn(self._plan.duration, counted=True)
            after = self._usage_now()
            if before is not None and after is not None:
                busy += after.cpu - before.cpu
                self._usage[1:] = [Usage(0.0, after.rss), Usage(busy, after.rss)]

    def _turn(self, seconds: float, *, counted: bool) -> None:
        self._done.clear()
        begin = time.monotonic() + TURN_DELAY
        end = begin + seconds
        drain = ROUND_SECONDS if self._plan.scenario is Scenario.ROOM else DRAIN_SECONDS
        self._order(begin, begin if counted else end, end, drain, until_drained=True)
        while len(self._done) < self._plan.processes:
            for _ in self._hear():
                pass
        if counted:
            for process, said in self._done.items():
                self._turns.setdefault(process, []).append(report(said))

    def _collect(self) -> None:
        """Hear all processes to their end, and look at the server at both ends of the measured time."""
        while len(self._done) < self._plan.processes:
            for _ in self._hear():
                pass
            self._look_at_server()
        # Every client was lost before the time was over.
        if len(self._usage) == 2:
            self._look()

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
        if len(self._usage) < due:
            self._look()

    def _look(self) -> None:
        if (usage := self._usage_now()) is not None:
            self._usage.append(usage)

    def _usage_now(self) -> Usage | None:
        try:
            return self._probe() if self._probe is not None else None
        except LoadgenError:
            self._probe = None  # it has ended; the errors of its clients say so
            return None

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
    if said["snapshots"] is None:
        first = last = counters
        load = Load(0.0, 0.0, 0.0)
    else:
        (first, *begun), (last, *ended) = said["snapshots"]
        wall, cpu, waited = (max(0, b - a) / 1e9 for a, b in zip(begun, ended, strict=True))
        load = Load(wall, cpu, waited)
    errors = [(kind, detail, count) for kind, detail, count in said["errors"]]
    slots = [(slot, count) for slot, count in said["slots"]]
    return ShareReport(first, last, load, counters, errors, said["note"], slots)
