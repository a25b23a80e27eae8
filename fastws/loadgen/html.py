"""The report as one HTML file, which loads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fastws.loadgen.charts import Line, chart, linear, logarithmic
from fastws.loadgen.machine import made_by
from fastws.loadgen.ramp import Quantity, Ramp, Step
from fastws.loadgen.report import milliseconds, ramp_header, ramp_table, rows, title
from fastws.loadgen.result import Result
from fastws.loadgen.thresholds import Check

__all__ = ["ramp_page", "result_page"]

STYLE = """
:root { color-scheme: light dark;
        --ink: #1b1f24; --paper: #fff; --faint: #d5dae1; --one: #0b62c4; --two: #c2410c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171b; --faint: #363c45; --one: #62a8ff; --two: #ff9a5c; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--faint); vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
td:not(:last-child) { white-space: nowrap; }
.note { border-left: 4px solid var(--two); padding-left: .8rem; }
.verdict { font-weight: 600; }
svg { width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; }
svg .grid { stroke: var(--faint); }
svg polyline { fill: none; stroke-width: 2; }
svg polyline.one { stroke: var(--one); } svg text.one { fill: var(--one); }
svg polyline.two { stroke: var(--two); } svg text.two { fill: var(--two); }
footer { margin-top: 2rem; font-size: .85rem; opacity: .75; }
"""

#: Titles of the x axis of a ramp.
LOAD_TITLES = {Quantity.CLIENTS: "clients", Quantity.RATE: "planned a second"}
#: The points of the curve by percentile.
NINES = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999)


def result_page(result: Result, checks: Sequence[Check] = ()) -> str:
    """The page of a run: its table, remarks and curves. ``checks`` are the thresholds that were asked for."""
    body = [f"<h1>{escape(title(result.plan))}</h1>"]
    missed = [str(each) for each in checks if not each.met]
    body += [f'<p class="note">{escape(note)}</p>' for note in [*missed, *result.remarks]]
    body.append(table([], rows(result, checks)))
    body += charts(result)
    return page(title(result.plan), body, result.date)


def ramp_page(ramp: Ramp) -> str:
    """The page of a ramp: all steps, and how latency grows with the load."""
    plan = ramp.steps[0].plan
    body = [f"<h1>{escape(title(plan))}</h1>", f'<p class="verdict">{escape(ramp.verdict)}</p>']
    body.append(table(ramp_header(plan), ramp_table(ramp.steps)))
    steps = [step for step in ramp.steps if step.result is not None and step.result.latency]
    if len(steps) > 1:
        body.append("<h2>Latency as the load grows</h2>")
        body.append(growth_chart(steps, ramp.quantity))
    date = next((step.result.date for step in ramp.steps if step.result is not None), "")
    return page(title(plan), body, date)


def page(name: str, body: Sequence[str], date: str) -> str:
    lines = "".join(f"<div>{escape(label)}: {escape(text)}</div>" for label, text in made_by().items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(name)}</title>'
        f"<style>{STYLE}</style></head>\n<body>{''.join(body)}\n"
        f"<footer>{escape(date)}{lines}</footer></body></html>\n"
    )


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines]
    return "<table>" + "".join(f"<tr>{cells}</tr>" for cells in [head, *body] if cells) + "</table>"


def charts(result: Result) -> list[str]:
    found = []
    if result.latency is not None and result.histogram.total_count > 1:
        found += ["<h2>Latency by percentile</h2>", distribution(result)]
    if len(result.moments) > 2:
        found += [f"<h2>{escape(result.unit)} over time</h2>", over_time(result)]
    if sum(moment.p99 > 0 for moment in result.moments) > 2:
        found += ["<h2>Latency over time</h2>", latency_over_time(result)]
    return found


def distribution(result: Result) -> str:
    """Latency by percentile. The x axis counts nines, so that the tail has room."""
    histogram = result.histogram
    shares = [share for share in NINES if histogram.total_count * (100 - share) >= 100]
    points = [(100 / (100 - share), histogram.value_at(share) / 1e6) for share in shares]
    points = [(x, max(y, 1e-6)) for x, y in points]
    across = logarithmic("percentile", 1.0, points[-1][0], lambda x: f"{100 - 100 / x:g} %")
    up = logarithmic("", min(y for _, y in points), max(y for _, y in points), milliseconds)
    return chart("Latency by percentile", across, up, [Line("latency", points, "one")])


def over_time(result: Result) -> str:
    points = [(moment.at, moment.rate) for moment in result.moments]
    across = linear("seconds, the warm-up before 0", points[0][0], points[-1][0], lambda x: f"{x:.1f}")
    up = linear("", 0.0, max(y for _, y in points), short)
    return chart(f"{result.unit} over time", across, up, [Line(result.unit, points, "one")])


def latency_over_time(result: Result) -> str:
    moments = [moment for moment in result.moments if moment.p50 > 0]
    values = [value for moment in moments for value in (moment.p50, moment.p99)]
    across = linear("seconds", moments[0].at, moments[-1].at, lambda x: f"{x:.1f}")
    up = logarithmic("", min(values), max(values), milliseconds)
    lines = [
        Line("p99", [(moment.at, moment.p99) for moment in moments], "two"),
        Line("p50", [(moment.at, moment.p50) for moment in moments], "one"),
    ]
    return chart("Latency over time", across, up, lines)


def growth_chart(steps: Sequence[Step], quantity: Quantity) -> str:
    """Latency by what is stepped, which grows at each step. What comes back may fall beyond the limit."""
    latencies = [step.result.latency for step in steps if step.result is not None and step.result.latency]
    values = [latency[name] for latency in latencies for name in ("p50", "p99")]
    loads = [load_of(step, quantity) for step in steps]
    across = linear(LOAD_TITLES[quantity], 0.0, max(loads), short)
    up = logarithmic("", min(values), max(values), milliseconds)
    lines = [
        Line(name, list(zip(loads, (latency[name] for latency in latencies), strict=True)), css)
        for name, css in (("p99", "two"), ("p50", "one"))
    ]
    return chart("Latency as the load grows", across, up, lines)


def load_of(step: Step, quantity: Quantity) -> float:
    return step.plan.rate or 0.0 if quantity is Quantity.RATE else float(step.plan.clients)


def short(value: float) -> str:
    for scale, letter in ((1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g} {letter}"
    return f"{value:g}"
