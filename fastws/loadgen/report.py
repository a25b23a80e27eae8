"""The run on a terminal: a line that lives while it goes on, and the table at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.ramp import Climb, Step
from fastws.loadgen.result import UNITS, Result
from fastws.loadgen.run import Progress

__all__ = ["climb_table", "live", "print_climb", "print_result", "rows", "title"]

BAR_WIDTH = 20

#: What the time of a scenario is the time of.
LATENCIES = {
    Scenario.ECHO: "latency",
    Scenario.FANOUT: "latency",
    Scenario.ROOM: "all heard after",
    Scenario.CONNECT: "handshake",
    Scenario.IDLE: "handshake",
}


def title(plan: Plan) -> str:
    """What was asked, in one line."""
    size = f"{len(plan.message.encode())}" if plan.message is not None else f"{plan.size:,}"
    words = [f"{plan.clients:,} clients"]
    if plan.scenario is Scenario.ECHO and plan.rate is None:
        words.append(f"{plan.depth} outstanding each")
    if plan.scenario is Scenario.FANOUT:
        words.append(f"{plan.publishers:,} of them publish")
        words += [f"{plan.window} outstanding"] if plan.rate is None else []
    if plan.rate is not None:
        words.append(f"{plan.rate:,g} a second")
    if plan.scenario not in (Scenario.CONNECT, Scenario.IDLE):
        words.append(f"{size} B {'binary' if plan.binary else 'text'}")
    words += ["deflate"] if plan.deflate else []
    words += [f"{plan.processes} processes"] if plan.processes > 1 else []
    return f"{plan.scenario} {plan.url}: {', '.join(words)}"


def rows(result: Result) -> Iterator[tuple[str, str]]:
    """(label, figure) of everything there is to tell."""
    held = result.plan.scenario is Scenario.IDLE
    yield ("held" if held else "throughput"), f"{result.rate:,.0f} {result.unit}"
    if result.rounds_rate is not None:
        yield "rounds", f"{result.rounds_rate:,.1f} /s"
    elif result.plan.scenario is Scenario.FANOUT:
        yield "published", f"{result.sent_rate:,.0f} messages/s"
    if result.latency is not None:
        shown = "  ".join(f"{name} {milliseconds(value)}" for name, value in result.latency.items())
        yield LATENCIES[result.plan.scenario], shown
    if result.reach is not None:
        yield "reach", f"{percent(result.reach)} ({result.received:,} of {result.expected:,})"
    for error in result.errors:
        yield "error", f"{error.text}: {error.count:,}"
    if not result.errors:
        yield "errors", "none"
    shares = ", ".join(f"{load.cpu_share:.0%}" for load in result.loads)
    yield "generator CPU", f"{shares} of a core" + (" each" if len(result.loads) > 1 else "")
    if result.server is not None:
        yield from server_rows(result)


def server_rows(result: Result) -> Iterator[tuple[str, str]]:
    server = result.server
    assert server is not None
    each = f"{server.cpu_us:.2f} µs each, " if server.cpu_us is not None else ""
    yield "server CPU", f"{each}{server.cores:.2f} cores"
    per_connection = f"{server.rss_kb:.2f} KB a connection, " if server.rss_kb is not None else ""
    yield "server RSS", f"{per_connection}{server.rss_mb:.1f} MB in all"


def milliseconds(value: float) -> str:
    """Three digits are what the histogram holds."""
    if value < 1:
        return f"{value * 1000:.0f} µs"
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


def percent(value: float) -> str:
    """Never rounded up to 100 %."""
    return "100 %" if value == 1 else f"{value:.4%}".replace("%", " %")


def print_result(result: Result, console: Console) -> None:
    table = Table(title=Text(title(result.plan)), show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, figure in rows(result):
        table.add_row(Text(label), Text(figure, style="red" if label == "error" else ""))
    console.print(table)
    for remark in result.remarks:
        console.print(Text(f"note: {remark}", style="yellow"))


def climb_table(steps: Sequence[Step]) -> Iterator[tuple[str, ...]]:
    """A row for each step: clients, rate asked, rate, p50, p99, reach, verdict."""
    for step in steps:
        asked = "" if step.plan.rate is None else f"{step.plan.rate:,.0f}"
        verdict = "holds" if step.holds else step.failures[0]
        if step.result is None:
            yield f"{step.plan.clients:,}", asked, "", "", "", "", verdict
            continue
        latency = step.result.latency or {}
        p50, p99 = (milliseconds(latency[name]) if name in latency else "" for name in ("p50", "p99"))
        reach = "" if step.result.reach is None else percent(step.result.reach)
        yield f"{step.plan.clients:,}", asked, f"{step.result.rate:,.0f}", p50, p99, reach, verdict


def climb_header(plan: Plan) -> tuple[str, ...]:
    return "clients", "asked /s", UNITS[plan.scenario], "p50", "p99", "reach", ""


def print_climb(climb: Climb, console: Console) -> None:
    plan = climb.steps[0].plan
    table = Table(title=Text(title(plan)), title_justify="left")
    for name in climb_header(plan):
        table.add_column(Text(name), justify="right" if name else "left")
    for row in climb_table(climb.steps):
        table.add_row(*map(Text, row))
    console.print(table)
    last = climb.steps[-1].result
    for remark in last.remarks if last is not None else ():
        console.print(Text(f"note on the last step: {remark}", style="yellow"))
    console.print(Text(climb.verdict, style="bold"))


@contextmanager
def live(plan: Plan) -> Iterator[Callable[[Progress], None]]:
    """Shows progress on stderr while it is a terminal; else nothing, and the report speaks for itself."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    console = Console(stderr=True)
    # Refreshed by hand: a thread that draws ten times a second would be measured too.
    with Live(Text("connecting"), console=console, auto_refresh=False, transient=True) as shown:
        yield lambda progress: shown.update(line(plan, progress), refresh=True)


def line(plan: Plan, progress: Progress) -> Text:
    text = Text()
    moment = progress.moment
    if moment is not None and progress.phase == "measuring":
        done = min(1.0, max(0.0, moment.at / plan.duration))
        filled = round(done * BAR_WIDTH)
        text.append("━" * filled, "green").append("━" * (BAR_WIDTH - filled), "dim").append(" ")
    text.append(f"{progress.phase} ", "bold")
    text.append(f"{progress.clients:,} clients")
    if moment is not None and progress.phase != "opening":
        text.append(
            f"  {moment.rate:,.0f} {'opened/s' if plan.scenario is Scenario.IDLE else UNITS[plan.scenario]}"
        )
        if moment.p99:
            text.append(f"  p50 {milliseconds(moment.p50)}  p99 {milliseconds(moment.p99)}")
    if progress.errors:
        text.append(f"  {progress.errors:,} errors", "red")
    return text
