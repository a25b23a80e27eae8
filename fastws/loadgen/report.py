"""The terminal's view of a run: a line of progress while it goes on, and a table at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.ramp import Ramp, Step
from fastws.loadgen.result import UNITS, Result
from fastws.loadgen.run import Phase, Progress
from fastws.loadgen.thresholds import Check

__all__ = ["ramp_table", "live", "print_ramp", "print_result", "print_table", "rows", "title"]

BAR_WIDTH = 20
SENT_LABELS = {Scenario.FANOUT: "published", Scenario.SCRIPT: "sent"}
#: Between two lines of progress where there is no terminal.
LINE_SECONDS = 5.0

#: The label of a threshold that the run does not hold.
MISSED = "missed"
#: What is timed in each scenario.
LATENCY_LABELS = {
    Scenario.ECHO: "latency",
    Scenario.FANOUT: "latency",
    Scenario.ROOM: "all received after",
    Scenario.CONNECT: "handshake",
    Scenario.IDLE: "handshake",
    Scenario.SCRIPT: "latency",
}


def title(plan: Plan) -> str:
    """The plan in one line."""
    size = f"{len(plan.message.encode())}" if plan.message is not None else f"{plan.size:,}"
    words = [f"{plan.clients:,} clients"]
    if plan.scenario is Scenario.ECHO and plan.rate is None:
        words.append(f"{plan.depth} outstanding each")
    if plan.scenario is Scenario.FANOUT:
        words.append(f"{plan.publishers:,} of them publish")
        words += [f"{plan.window} outstanding"] if plan.rate is None else []
    if plan.rate is not None:
        words.append(f"{plan.rate:,g} a second")
    if plan.scenario not in (Scenario.CONNECT, Scenario.IDLE, Scenario.SCRIPT):
        words.append(f"{size} B {'binary' if plan.binary else 'text'}")
    words += ["deflate"] if plan.deflate else []
    words += [f"{plan.processes} processes"] if plan.processes > 1 else []
    words += [f"opened over {plan.ramp:g} s"] if plan.ramp else []
    return f"{plan.scenario} {' '.join(plan.urls)}: {', '.join(words)}"


def rows(result: Result, checks: Iterable[Check] = ()) -> Iterator[tuple[str, str]]:
    """Yield (label, figure) of each row of the table, and one for each threshold of ``checks``."""
    held = result.plan.scenario is Scenario.IDLE
    yield ("held" if held else "throughput"), f"{result.rate:,.0f} {result.unit}"
    if result.rounds_rate is not None:
        yield "rounds", f"{result.rounds_rate:,.1f} /s"
    if result.plan.scenario in SENT_LABELS:
        yield SENT_LABELS[result.plan.scenario], f"{result.sent_rate:,.0f} messages/s"
    if result.latency is not None:
        shown = "  ".join(f"{name} {milliseconds(value)}" for name, value in result.latency.items())
        yield LATENCY_LABELS[result.plan.scenario], shown
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
    for check in checks:
        yield "threshold" if check.met else MISSED, str(check)


def server_rows(result: Result) -> Iterator[tuple[str, str]]:
    server = result.server
    assert server is not None
    each = f"{server.cpu_us:.2f} µs each, " if server.cpu_us is not None else ""
    yield "server CPU", f"{each}{server.cores:.2f} cores"
    per_connection = f"{server.rss_kb:.2f} KB a connection, " if server.rss_kb is not None else ""
    yield "server RSS", f"{per_connection}{server.rss_mb:.1f} MB in all"


def milliseconds(value: float) -> str:
    """Three digits: the histogram has no more."""
    if value < 1:
        return f"{value * 1000:.0f} µs"
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


def percent(value: float) -> str:
    """Four decimals. Only 1 itself gives 100 %."""
    return "100 %" if value == 1 else f"{value:.4%}".replace("%", " %")


def print_table(heading: str, rows: Iterable[tuple[str, str]], console: Console) -> None:
    """Print labels and their figures."""
    table = Table(title=Text(heading), show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, figure in rows:
        table.add_row(Text(label), Text(figure, style="red" if label in ("error", MISSED) else ""))
    console.print(table)


def print_result(result: Result, console: Console, checks: Iterable[Check] = ()) -> None:
    """Print the table of a run, with the thresholds that were asked for, and its remarks."""
    print_table(title(result.plan), rows(result, checks), console)
    for remark in result.remarks:
        console.print(Text(f"note: {remark}", style="yellow"))


def ramp_table(steps: Sequence[Step]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each step: clients, planned rate, rate, p50, p99, reach, and whether it holds."""
    for step in steps:
        planned = "" if step.plan.rate is None else f"{step.plan.rate:,.0f}"
        verdict = "holds" if step.holds else step.failures[0]
        if step.result is None:
            yield f"{step.plan.clients:,}", planned, "", "", "", "", verdict
            continue
        latency = step.result.latency or {}
        p50, p99 = (milliseconds(latency[name]) if name in latency else "" for name in ("p50", "p99"))
        reach = "" if step.result.reach is None else percent(step.result.reach)
        yield f"{step.plan.clients:,}", planned, f"{step.result.rate:,.0f}", p50, p99, reach, verdict


def ramp_header(plan: Plan) -> tuple[str, ...]:
    return "clients", "planned /s", UNITS[plan.scenario], "p50", "p99", "reach", ""


def print_ramp(ramp: Ramp, console: Console) -> None:
    """Print the table of all steps, and what the server holds."""
    plan = ramp.steps[0].plan
    table = Table(title=Text(title(plan)), title_justify="left")
    for name in ramp_header(plan):
        table.add_column(Text(name), justify="right" if name else "left")
    for row in ramp_table(ramp.steps):
        table.add_row(*map(Text, row))
    console.print(table)
    last = ramp.steps[-1].result
    for remark in last.remarks if last is not None else ():
        console.print(Text(f"note on the last step: {remark}", style="yellow"))
    console.print(Text(ramp.verdict, style="bold"))


@contextmanager
def live(plan: Plan) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows progress on stderr. Where that is no terminal, a line tells it every 5 s."""
    if not sys.stderr.isatty():
        yield progress_lines(plan)
        return
    console = Console(stderr=True)
    # We refresh it: a thread that draws ten times a second would take CPU time from the generator.
    with Live(Text("connecting"), console=console, auto_refresh=False, transient=True) as shown:
        yield lambda progress: shown.update(progress_line(plan, progress), refresh=True)


def progress_lines(plan: Plan) -> Callable[[Progress], None]:
    """A function that prints progress, at most once in LINE_SECONDS, and nothing for a shorter run."""
    printed = 0.0

    def show(progress: Progress) -> None:
        nonlocal printed
        if progress.seconds < printed:  # the next step of a ramp has begun
            printed = 0.0
        if progress.seconds - printed >= LINE_SECONDS:
            printed = progress.seconds
            print(f"fastws bench: {progress.seconds:.0f} s: {progress_line(plan, progress)}", file=sys.stderr)

    return show


def progress_line(plan: Plan, progress: Progress) -> Text:
    text = Text()
    moment = progress.moment
    if moment is not None and progress.phase is Phase.MEASURING:
        done = min(1.0, max(0.0, moment.at / plan.duration))
        filled = round(done * BAR_WIDTH)
        text.append("━" * filled, "green").append("━" * (BAR_WIDTH - filled), "dim").append(" ")
    text.append(f"{progress.phase} ", "bold")
    text.append(f"{progress.clients:,} clients")
    if moment is not None and progress.phase is not Phase.OPENING:
        text.append(
            f"  {moment.rate:,.0f} {'opened/s' if plan.scenario is Scenario.IDLE else UNITS[plan.scenario]}"
        )
        if moment.p99:
            text.append(f"  p50 {milliseconds(moment.p50)}  p99 {milliseconds(moment.p99)}")
    if progress.errors:
        text.append(f"  {progress.errors:,} errors", "red")
    return text
