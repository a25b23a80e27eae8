"""The result of a run: figures, errors, remarks, and their JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from fastws._version import __version__
from fastws.loadgen.errors import ErrorCount, describe_errors
from fastws.loadgen.histogram import Histogram, Slots, merge, summary
from fastws.loadgen.machine import made_by
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.procstat import Usage
from fastws.loadgen.validity import Load, contention, saturation

__all__ = ["Moment", "Result", "ShareReport", "ServerUsage", "UNITS", "build_result", "sum_turns"]

FORMAT = 1

#: What `Result.rate` counts.
UNITS = {
    Scenario.ECHO: "messages/s",
    Scenario.FANOUT: "deliveries/s",
    Scenario.ROOM: "deliveries/s",
    Scenario.CONNECT: "handshakes/s",
    Scenario.IDLE: "clients",
    Scenario.SCRIPT: "messages/s",
}
#: A generator that sent later than this gets a remark.
LATE_SECONDS = 0.01
#: No server holds a connection in less: one that grew by less has used memory that it had from before.
LEAST_BYTES = 512


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the curves over time. Its figures are those since the point before.

    ``at``: seconds since the start of the measured time, negative in the warm-up. ``p50`` and ``p99`` are in
    milliseconds; 0 where nothing was received.
    """

    at: float
    rate: float
    p50: float
    p99: float
    clients: int


@dataclass(frozen=True, slots=True)
class ShareReport:
    """What one generator process counted: at both ends of the measured time, and in the whole run."""

    first: dict[str, int]
    last: dict[str, int]
    load: Load
    total: dict[str, int]
    errors: list[tuple[int, int, int]]
    note: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """CPU and memory of the server's process and its descendants."""

    pid: int
    #: Cores in use on average: 1.0 is one core for the whole measured time.
    cores: float
    #: Microseconds of CPU time for one of what `Result.rate` counts. None: it counted none.
    cpu_us: float | None
    #: Resident memory that each connection added, in KiB. None for `connect`, and where it was there before.
    rss_kb: float | None
    #: Resident memory at the end of the measured time, in MiB.
    rss_mb: float


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run has measured.

    Rates and latency are of the measured time; errors, ``reach`` and numbers of clients are of the whole run,
    with warm-up and end.
    """

    plan: Plan
    #: When it was made: ISO 8601, local time.
    date: str
    #: Seconds of the measured time.
    seconds: float
    #: The main figure, in ``unit``: messages, deliveries or handshakes a second, or open clients.
    rate: float
    unit: str
    #: Messages a second that clients sent. In a fan-out each becomes as many deliveries as there are clients.
    sent_rate: float
    #: Rounds a second of a room.
    rounds_rate: float | None
    #: Milliseconds: p50, p90, p99, p99.9, max, mean. None: nothing was recorded.
    latency: dict[str, float] | None
    #: ``received`` / ``expected``. None: nothing was expected.
    reach: float | None
    received: int
    expected: int
    #: Messages that do not count as answers.
    other: int
    #: Connections that opened, could not open, and were lost.
    opened: int
    failed: int
    lost: int
    errors: list[ErrorCount]
    #: The CPU time of each generator process.
    loads: list[Load]
    #: A sentence where the generator was the bottleneck.
    saturated: str | None
    #: None without ``Plan.pid``.
    server: ServerUsage | None = None
    moments: list[Moment] = field(default_factory=list)
    interrupted: bool = False
    #: What a reader of the figures has to know, the most important first.
    remarks: list[str] = field(default_factory=list)
    #: Latencies in nanoseconds.
    histogram: Histogram = field(repr=False)

    @property
    def ok(self) -> bool:
        """True where all clients opened and stayed, and something was measured."""
        return not (self.errors or self.interrupted or self.failed or self.lost) and self.measured

    @property
    def measured(self) -> bool:
        """Whether something was received (or opened, or held)."""
        return self.rate > 0 or (self.plan.scenario is Scenario.SCRIPT and self.sent_rate > 0)

    def to_json(self) -> dict[str, Any]:
        """The whole result, as ``fastws bench --json`` writes it."""
        loads = [{**asdict(each), "cpu_share": each.cpu_share} for each in self.loads]
        names = [name for name in self.__dataclass_fields__ if name not in ("histogram", "loads")]
        own = {name: getattr(self, name) for name in names}
        encoded = self.histogram.encode().decode() if self.histogram.total_count else None
        return {
            "format": FORMAT,
            "fastws": __version__,
            "made_by": made_by(),
            **own,
            "plan": self.plan.to_report(),
            "generator": loads,
            "histogram_ns": encoded,
            "ok": self.ok,
        }


def build_result(
    plan: Plan,
    reports: list[ShareReport],
    *,
    usage: Sequence[Usage] = (),
    moments: list[Moment] | None = None,
    interrupted: bool = False,
) -> Result:
    """Make one result of what all processes counted.

    Args:
        plan: The plan of the run.
        reports: One for each process.
        usage: Of the server: before the first client, at the start and at the end of the measured time. With
            fewer than these three ``Result.server`` is None.
        moments: The curves over time.
        interrupted: The run ended early.
    """
    rates = {name: rate_of(reports, name) for name in ("received", "sent", "opened", "rounds")}
    totals: Counter[str] = Counter()
    for report in reports:
        totals.update(report.total)
    histogram = merge(report.slots for report in reports)
    note = next((report.note for report in reports if report.note), "")
    received, expected = reach(plan, totals)
    result = Result(
        plan=plan,
        date=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        seconds=max(report.load.wall for report in reports),
        rate=main_rate(plan, rates, totals),
        unit=UNITS[plan.scenario],
        sent_rate=rates["sent"],
        rounds_rate=rates["rounds"] if plan.scenario is Scenario.ROOM or rates["rounds"] else None,
        latency=summary(histogram),
        reach=received / expected if expected else None,
        received=received,
        expected=expected,
        other=totals["other"],
        opened=totals["opened"],
        failed=totals["failed"],
        lost=totals["lost"],
        errors=describe_errors((each for report in reports for each in report.errors), note),
        loads=[report.load for report in reports],
        saturated=saturation([report.load for report in reports]),
        moments=moments or [],
        interrupted=interrupted,
        histogram=histogram,
    )
    if len(usage) == 3 and plan.pid is not None:
        result.server = server_usage(plan.pid, result, *usage)
    result.remarks = list(remarks(result, totals))
    return result


def sum_turns(turns: Sequence[ShareReport]) -> ShareReport:
    """Make one report of the turns of a process. The last has totals, errors and histogram of all of them."""
    done = {name: sum(turn.last[name] - turn.first[name] for turn in turns) for name in turns[0].last}
    loads = [turn.load for turn in turns]
    load = Load(*(sum(getattr(each, name) for each in loads) for name in ("wall", "cpu", "waited")))
    return replace(turns[-1], first=dict.fromkeys(done, 0), last=done, load=load)


def rate_of(reports: list[ShareReport], name: str) -> float:
    """How much of a counter came in a second of the measured time, in all processes together."""
    done = ((report.last[name] - report.first[name], report.load.wall) for report in reports)
    return sum(count / wall for count, wall in done if wall > 0)


def main_rate(plan: Plan, rates: dict[str, float], totals: Counter[str]) -> float:
    """What `Result.rate` is in this scenario."""
    if plan.scenario is Scenario.CONNECT:
        return rates["opened"]
    return totals["alive"] if plan.scenario is Scenario.IDLE else rates["received"]


def reach(plan: Plan, totals: Counter[str]) -> tuple[int, int]:
    """(received, expected): messages, connections (`connect`), or clients held to the end (`idle`)."""
    receivers = totals["opened"] - plan.to_others
    match plan.scenario:
        case Scenario.CONNECT:
            return totals["opened"], totals["scheduled"]
        case Scenario.IDLE:
            return totals["alive"], plan.clients
        case Scenario.ECHO:
            return totals["received"], totals["scheduled"]
        case Scenario.SCRIPT:
            return totals["answered"], totals["scheduled"]
    return totals["received"], totals["scheduled"] * receivers


def server_usage(pid: int, result: Result, before: Usage, first: Usage, last: Usage) -> ServerUsage:
    # Processes of the server that ended took their time and memory with them: a difference may be negative.
    busy = max(0.0, last.cpu - first.cpu)
    grown = last.rss - before.rss
    operations = result.rate * result.seconds if result.plan.scenario is not Scenario.IDLE else 0
    holds = result.plan.scenario is not Scenario.CONNECT and result.opened > 0
    return ServerUsage(
        pid=pid,
        cores=busy / result.seconds if result.seconds > 0 else 0.0,
        cpu_us=busy / operations * 1e6 if operations else None,
        rss_kb=grown / 1024 / result.opened if holds and grown >= result.opened * LEAST_BYTES else None,
        rss_mb=last.rss / 1024**2,
    )


def remarks(result: Result, totals: Counter[str]) -> list[str]:
    """Sentences that a reader of the figures has to know, the most important first."""
    plan, found = result.plan, []
    if result.interrupted:
        found.append("interrupted: the figures are of the part that was measured")
    contended = contention(result.loads)
    found += [sentence for sentence in (result.saturated or contended,) if sentence]
    if result.failed and plan.scenario is not Scenario.CONNECT:
        found.append(f"{result.failed:,} of {plan.clients:,} clients could not open")
    if result.failed and plan.scenario is Scenario.CONNECT:
        found.append(f"{result.failed:,} of {totals['scheduled']:,} connections could not open")
    if result.lost:
        found.append(f"{result.lost:,} of {result.opened:,} clients were lost before the end")
    if result.other and result.reach != 1:
        found.append(
            f"{result.other:,} messages came that do not count: of another size than was sent, or without "
            "their time (does the server merge messages? --merged-by; change them? --any-reply)"
        )
    if result.server is not None and result.server.rss_kb is None and plan.scenario is not Scenario.CONNECT:
        found.append(
            "the server's memory did not grow, because it used or gave back what it had from before: for the "
            "memory of a connection take more clients, or a server that has just started"
        )
    late = totals["late_ns"] / 1e9
    if plan.rate is not None and late > LATE_SECONDS and not result.saturated:
        found.append(f"the generator was up to {late * 1000:.0f} ms behind its own schedule")
    return found
