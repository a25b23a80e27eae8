"""One run, from the first connection to the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastws.loadgen.errors import KINDS
from fastws.loadgen.fleet import Fleet
from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.procstat import ServerProbe, Usage
from fastws.loadgen.result import Moment, Result, ShareReport, build_result, sum_turns
from fastws.loadgen.target import resolve
from fastws.loadgen.validity import Load
from fastws.loadgen.worker import PROGRESS_SECONDS

__all__ = ["Progress", "run"]

#: Seconds from the command to the first message, so that all processes begin at the same time.
START_DELAY = 0.05
#: The same for a turn: the processes are there and wait.
TURN_DELAY = 0.002
#: Seconds after the measured time in which the answers to its messages may still come.
DRAIN_SECONDS = 2.0
#: The same for a turn of a room, which ends with a round: a slow server needs some seconds for one.
ROUND_SECONDS = 20.0
#: In these a server may close a client that has received nothing.
NEED_NO_ANSWER = (Scenario.CONNECT, Scenario.IDLE, Scenario.SCRIPT)


class Phase(StrEnum):
    """The phases of a run, in this order."""

    OPENING = "opening"
    WARM_UP = "warm-up"
    MEASURING = "measuring"
    #: The last answers come.
    FINISHING = "finishing"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run: what ``watch`` of `run` is called with."""

    phase: Phase
    #: Seconds since the beginning of the run.
    seconds: float
    #: Clients that are open now.
    clients: int
    #: Errors so far.
    errors: int
    #: The newest figures.
    moment: Moment | None = None


def run(
    plan: Plan,
    watch: Callable[[Progress], None] = lambda progress: None,
    turns: Iterable[object] | None = None,
) -> Result:
    """Make one run and return its result. Blocks until it is done; starts ``plan.processes`` processes.

    With ``turns`` several servers can be measured in turn, each by a generator of its own whose clients stay
    open, on a machine whose speed changes from minute to minute. A turn begins when the iterable yields. It
    lasts for the plan's duration, and until the answers to all its messages have come. The warm-up is a turn
    before the first and does not count. The figures are those of all turns together.

    The run ends early where the server closes a client before any client has received something: it takes no
    such message. A KeyboardInterrupt ends it early too: the result is that of what was measured until then. A
    second one is raised.

    Args:
        plan: What to measure.
        watch: Called about twice a second with the progress. For a run without ``turns``.
        turns: Yields once for each turn. Default: the run is in one piece.

    Returns:
        The result. It holds the errors of single clients, which are not raised.

    Raises:
        LoadgenError: There is nothing to report: the host has no address, no client could open, or a process
            may not have enough file descriptors.
        PlanError: The URL is no WebSocket URL, or a fan-out in turns has several processes.
    """
    if turns is not None and plan.scenario is Scenario.FANOUT and plan.processes > 1:
        raise PlanError(
            "a fan-out in turns needs one process: another does not know when all has been received"
        )
    if turns is not None and plan.scenario is Scenario.SCRIPT:
        raise PlanError("the clients of a script open and close in each run, so there are no turns")
    targets = tuple(resolve(url) for url in plan.urls)
    if len({target.tls for target in targets}) > 1:
        raise PlanError("all URLs must begin with ws://, or all with wss://")
    probe = ServerProbe(plan.pid) if plan.pid is not None else None
    before = probe() if probe else None
    with Fleet(plan, targets) as fleet:
        return _Run(plan, fleet, probe, before, watch).result(turns)


class _Run:
    """The parent's side of a run: collects events and reads the usage of the server."""

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
        self._begun_at = self._reported_at = time.monotonic()
        self._counter = "opened" if plan.scenario in (Scenario.CONNECT, Scenario.IDLE) else "received"
        self._rates: dict[int, float] = {}
        self._interrupted = False
        self._refused = False
        self._start = self._end = float("inf")
        #: What each process counted, turn by turn.
        self._turn_reports: dict[int, list[ShareReport]] = {}

    def result(self, turns: Iterable[object] | None) -> Result:
        self._open()
        self._check_open()
        with self._interruptible():
            if turns is None:
                self._measure()
            else:
                self._run_turns(turns)
        if self._interrupted:
            self._collect()
        return build_result(
            self._plan,
            self._reports() if turns is None else self._reports_of_turns(),
            usage=self._usage,
            moments=self._moments,
            interrupted=self._interrupted,
        )

    def _reports(self) -> list[ShareReport]:
        return [share_report(self._done[process]) for process in sorted(self._done)]

    def _reports_of_turns(self) -> list[ShareReport]:
        if not self._turn_reports:
            raise LoadgenError("no turn was taken: there is nothing to report")
        return [sum_turns(self._turn_reports[process]) for process in sorted(self._turn_reports)]

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._interrupted = True
            self._fleet.command("stop")

    def _open(self) -> None:
        opened: set[int] = set()
        while len(opened) < self._plan.processes:
            opened |= {process for process, event in self._events() if event == "opened"}

    def _check_open(self) -> None:
        """Raise LoadgenError where not a single client has opened."""
        if self._plan.scenario in (Scenario.CONNECT, Scenario.SCRIPT) or self._sum("alive"):
            return
        reports = [share_report({**event, "snapshots": None, "slots": []}) for event in self._latest.values()]
        errors = build_result(self._plan, reports).errors
        raise LoadgenError(f"no client could open {' or '.join(self._plan.urls)}: {errors[0].text}")

    def _measure(self) -> None:
        begin = time.monotonic() + START_DELAY
        self._start = begin + self._plan.warmup
        self._end = self._start + self._plan.duration
        self._command_run(begin, self._start, self._end, DRAIN_SECONDS)
        self._collect()

    def _command_run(
        self, begin: float, start: float, end: float, drain: float, *, until_drained: bool = False
    ) -> None:
        times = {"begin": begin, "start": start, "end": end}
        nanoseconds = {name: int(at * 1e9) for name, at in times.items()}
        self._fleet.command("run", **nanoseconds, drain=drain, until_drained=until_drained)

    def _run_turns(self, turns: Iterable[object]) -> None:
        if self._plan.warmup:
            self._run_turn(self._plan.warmup, counted=False)
        busy = 0.0
        for _ in turns:
            before = self._read_usage()
            self._run_turn(self._plan.duration, counted=True)
            after = self._read_usage()
            if before is not None and after is not None:
                busy += after.cpu - before.cpu
                self._usage[1:] = [Usage(0.0, after.rss), Usage(busy, after.rss)]

    def _run_turn(self, seconds: float, *, counted: bool) -> None:
        self._done.clear()
        begin = time.monotonic() + TURN_DELAY
        end = begin + seconds
        drain = ROUND_SECONDS if self._plan.scenario is Scenario.ROOM else DRAIN_SECONDS
        self._command_run(begin, begin if counted else end, end, drain, until_drained=True)
        while len(self._done) < self._plan.processes:
            for _ in self._events():
                pass
        if counted:
            for process, event in self._done.items():
                self._turn_reports.setdefault(process, []).append(share_report(event))

    def _collect(self) -> None:
        """Read events until all processes are done, and the server's usage at both ends of the time."""
        while len(self._done) < self._plan.processes:
            for _ in self._events():
                pass
            self._append_usage_when_due()
        # All clients were lost before the measured time was over.
        if len(self._usage) == 2:
            self._append_usage()

    def _events(self) -> Iterator[tuple[int, str]]:
        now = time.monotonic()
        ahead = [at for at in (self._start, self._end) if at > now]
        wake = min(self._reported_at + PROGRESS_SECONDS, now + 1, *ahead)
        for process, event in self._fleet.events(wake - now):
            self._keep(process, event)
            yield process, event["event"]
        if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
            self._report_progress()

    def _keep(self, process: int, event: dict[str, Any]) -> None:
        before = self._latest.get(process, event)
        passed = event["at"] - before["at"]
        counted = event["counters"][self._counter] - before["counters"][self._counter]
        self._rates[process] = counted / passed if passed > 0 else 0.0
        self._latest[process] = event
        if event["event"] == "done":
            self._done[process] = event
        if not self._refused and self._is_refused():
            self._refused = True
            self._fleet.command("stop")

    def _is_refused(self) -> bool:
        """Whether the server has closed a client before any client has received something."""
        if self._plan.scenario in NEED_NO_ANSWER or self._sum("received"):
            return False
        kinds = (KINDS[kind] for event in self._latest.values() for kind, _, _ in event["errors"])
        return "closed" in kinds

    def _append_usage_when_due(self) -> None:
        now = time.monotonic()
        due = (now >= self._start) + (now >= self._end) + 1
        if len(self._usage) < due:
            self._append_usage()

    def _append_usage(self) -> None:
        if (usage := self._read_usage()) is not None:
            self._usage.append(usage)

    def _read_usage(self) -> Usage | None:
        try:
            return self._probe() if self._probe is not None else None
        except LoadgenError:
            self._probe = None  # it has ended; the errors of the clients say so
            return None

    def _report_progress(self) -> None:
        now = time.monotonic()
        intervals = [event["interval"] for event in self._latest.values() if "interval" in event]
        p50, p99 = (max((each[i] for each in intervals), default=0) / 1e6 for i in (1, 2))
        moment = Moment(now - self._start, sum(self._rates.values()), p50, p99, self._sum("alive"))
        phase = self._phase(now)
        if phase in (Phase.WARM_UP, Phase.MEASURING):
            self._moments.append(moment)
        self._reported_at = now
        errors = sum(each[2] for event in self._latest.values() for each in event["errors"])
        self._watch(Progress(phase, now - self._begun_at, moment.clients, errors, moment))

    def _phase(self, now: float) -> Phase:
        if self._end == float("inf"):
            return Phase.OPENING
        if now < self._start:
            return Phase.WARM_UP
        return Phase.MEASURING if now < self._end else Phase.FINISHING

    def _sum(self, counter: str) -> int:
        return sum(event["counters"][counter] for event in self._latest.values())


def share_report(event: dict[str, Any]) -> ShareReport:
    """Read an event of a process. Without snapshots it has measured nothing."""
    counters = event["counters"]
    if event["snapshots"] is None:
        first = last = counters
        load = Load(0.0, 0.0, 0.0)
    else:
        (first, *begun), (last, *ended) = event["snapshots"]
        wall, cpu, waited = (max(0, b - a) / 1e9 for a, b in zip(begun, ended, strict=True))
        # The kernel counts a wait when it ends, so a part of it may belong to the time before.
        cpu = min(cpu, wall)
        load = Load(wall, cpu, min(waited, wall - cpu))
    errors = [(kind, detail, count) for kind, detail, count in event["errors"]]
    slots = [(slot, count) for slot, count in event["slots"]]
    return ShareReport(first, last, load, counters, errors, event["note"], slots)
