"""What a run found out: figures, errors and remarks, and their JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from fastws._version import __version__
from fastws.loadgen.errors import ErrorCount, in_words
from fastws.loadgen.histogram import HdrHistogram, Slots, load, summary
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.procstat import Usage
from fastws.loadgen.validity import Load, crowding, saturation

__all__ = ["Moment", "Result", "ShareReport", "ServerUsage", "UNITS", "build", "in_sum"]

FORMAT = 1

#: What `Result.rate` counts.
UNITS = {
    Scenario.ECHO: "messages/s",
    Scenario.FANOUT: "deliveries/s",
    Scenario.ROOM: "deliveries/s",
    Scenario.CONNECT: "handshakes/s",
    Scenario.IDLE: "clients",
}
#: A schedule that the generator kept worse than this is worth a remark.
LATE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the curves: seconds since the start of the measurement, and the time since the last."""

    at: float
    rate: float
    p50: float
    p99: float
    clients: int


@dataclass(frozen=True, slots=True)
class ShareReport:
    """What one generator process counted: at both ends of the measured time, and over all."""

    first: dict[str, int]
    last: dict[str, int]
    load: Load
    total: dict[str, int]
    errors: list[tuple[int, int, int]]
    note: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """Of the server's process and its children."""

    pid: int
    #: Cores: 1.0 is all of one, all the measured time.
    cores: float
    #: Microseconds for one of what `Result.rate` counts; None when there was none.
    cpu_us: float | None
    #: What each open connection added to the resident memory; None for `connect`.
    rss_kb: float | None
    rss_mb: float


@dataclass(slots=True, kw_only=True)
class Result:
    """Figures of the measured time; errors, reach and clients of the whole run. Latency in milliseconds."""

    plan: Plan
    date: str
    seconds: float
    rate: float
    unit: str
    #: Messages that clients sent; in a fan-out each becomes as many deliveries as there are clients.
    sent_rate: float
    rounds_rate: float | None
    latency: dict[str, float] | None
    reach: float | None
    received: int
    expected: int
    other: int
    opened: int
    failed: int
    lost: int
    errors: list[ErrorCount]
    loads: list[Load]
    saturated: str | None
    server: ServerUsage | None = None
    moments: list[Moment] = field(default_factory=list)
    interrupted: bool = False
    remarks: list[str] = field(default_factory=list)
    histogram: HdrHistogram = field(repr=False)

    @property
    def ok(self) -> bool:
        """Every client opened and stayed, and something was measured."""
        return not (self.errors or self.interrupted or self.failed or self.lost) and self.measured

    @property
    def measured(self) -> bool:
        """Whether there is anything to report."""
        return self.rate > 0

    def to_json(self) -> dict[str, Any]:
        loads = [{**asdict(each), "cpu_share": each.cpu_share} for each in self.loads]
        names = [name for name in self.__dataclass_fields__ if name not in ("histogram", "loads")]
        own = {name: getattr(self, name) for name in names}
        encoded = self.histogram.encode().decode() if self.histogram.total_count else None
        return {
            "format": FORMAT,
            "fastws": __version__,
            **own,
            "plan": self.plan.to_json(),
            "generator": loads,
            "histogram_ns": encoded,
            "ok": self.ok,
        }


def build(
    plan: Plan,
    reports: list[ShareReport],
    *,
    usage: Sequence[Usage] = (),
    moments: list[Moment] | None = None,
    interrupted: bool = False,
) -> Result:
    """One result of what the processes counted.

    ``usage`` is the server's before the first client, at the start and at the end of the measured time; with
    fewer than these three nothing is said of the server.
    """
    rates = {name: rate_of(reports, name) for name in ("received", "sent", "opened", "rounds")}
    totals: Counter[str] = Counter()
    for report in reports:
        totals.update(report.total)
    histogram = load(report.slots for report in reports)
    note = next((report.note for report in reports if report.note), "")
    received, expected = reach(plan, totals)
    result = Result(
        plan=plan,
        date=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        seconds=max(report.load.wall for report in reports),
        rate=figure(plan, rates, totals),
        unit=UNITS[plan.scenario],
        sent_rate=rates["sent"],
        rounds_rate=rates["rounds"] if plan.scenario is Scenario.ROOM else None,
        latency=summary(histogram),
        reach=received / expected if expected else None,
        received=received,
        expected=expected,
        other=totals["other"],
        opened=totals["opened"],
        failed=totals["failed"],
        lost=totals["lost"],
        errors=in_words((each for report in reports for each in report.errors), note),
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


def in_sum(turns: Sequence[ShareReport]) -> ShareReport:
    """One report of what a process did in several turns. Totals, errors and histogram run on through them."""
    done = {name: sum(turn.last[name] - turn.first[name] for turn in turns) for name in turns[0].last}
    loads = [turn.load for turn in turns]
    load = Load(*(sum(getattr(each, name) for each in loads) for name in ("wall", "cpu", "waited")))
    return replace(turns[-1], first=dict.fromkeys(done, 0), last=done, load=load)


def rate_of(reports: list[ShareReport], name: str) -> float:
    """A second, in the measured time, over all processes."""
    done = ((report.last[name] - report.first[name], report.load.wall) for report in reports)
    return sum(count / wall for count, wall in done if wall > 0)


def figure(plan: Plan, rates: dict[str, float], totals: Counter[str]) -> float:
    if plan.scenario is Scenario.CONNECT:
        return rates["opened"]
    return totals["alive"] if plan.scenario is Scenario.IDLE else rates["received"]


def reach(plan: Plan, totals: Counter[str]) -> tuple[int, int]:
    """(received, expected): of messages, of connections, or of clients that are held to the end."""
    hearers = totals["opened"] - plan.to_others
    match plan.scenario:
        case Scenario.CONNECT:
            return totals["opened"], totals["scheduled"]
        case Scenario.IDLE:
            return totals["alive"], plan.clients
        case Scenario.ECHO:
            return totals["received"], totals["scheduled"]
    return totals["received"], totals["scheduled"] * hearers


def server_usage(pid: int, result: Result, before: Usage, first: Usage, last: Usage) -> ServerUsage:
    busy = last.cpu - first.cpu
    operations = result.rate * result.seconds if result.plan.scenario is not Scenario.IDLE else 0
    holds = result.plan.scenario is not Scenario.CONNECT and result.opened > 0
    return ServerUsage(
        pid=pid,
        cores=busy / result.seconds if result.seconds > 0 else 0.0,
        cpu_us=busy / operations * 1e6 if operations else None,
        rss_kb=(last.rss - before.rss) / 1024 / result.opened if holds else None,
        rss_mb=last.rss / 1024**2,
    )


def remarks(result: Result, totals: Counter[str]) -> list[str]:
    """Sentences without which the figures would mislead, the weightiest first."""
    plan, said = result.plan, []
    if result.interrupted:
        said.append("interrupted: the figures are of the part that was measured")
    crowded = crowding(result.loads)
    said += [sentence for sentence in (result.saturated or crowded,) if sentence]
    if result.failed and plan.scenario is not Scenario.CONNECT:
        said.append(f"{result.failed:,} of {plan.clients:,} clients could not open")
    if result.failed and plan.scenario is Scenario.CONNECT:
        said.append(f"{result.failed:,} of {totals['scheduled']:,} connections could not open")
    if result.lost:
        said.append(f"{result.lost:,} of {result.opened:,} clients were lost before the end")
    if result.other and result.reach != 1:
        said.append(
            f"{result.other:,} messages came that do not count: of another size than was sent, or without "
            "their time (does the server merge messages? --merged-by; change them? --any-reply)"
        )
    late = totals["late_ns"] / 1e9
    if plan.rate is not None and late > LATE_SECONDS and not result.saturated:
        said.append(f"the generator was up to {late * 1000:.0f} ms behind its own schedule")
    return said
