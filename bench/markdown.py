"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.cells import CELLS
from bench.goals import Goal, Verdict, judge
from bench.model import Run
from bench.rivals import OURS
from bench.summary import Entry, Table, heading, number, ratio_words, tables

__all__ = ["goal_words", "markdown", "table", "verdict_words"]


def markdown(run: Run) -> str:
    """The whole report: how it was measured, the goals, then a table for each cell."""
    parts = ["# Benchmarks", *heading(run), *_goals(judge(run))]
    for cell in tables(run):
        parts += [f"## {cell.cell.name}: {cell.cell.title}", _cell(cell)]
    parts += ["## Versions", table(("server", "version"), _versions(run))]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table: the first column to the left, the others to the right."""
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    return "\n".join(lines + [_line([cell.replace("|", "\\|") for cell in row]) for row in rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Table) -> str:
    metrics = cell.cell.metrics
    head = ["server"]
    for metric in metrics:
        head += [f"{metric.label} ({metric.unit})", "±", "fastws is"]
    return table([*head, "remarks"], [_row(cell, entry) for entry in cell.entries])


def _row(cell: Table, entry: Entry) -> list[str]:
    row = [f"**{entry.title}**" if entry.name == OURS else entry.title]
    for metric in cell.cell.metrics:
        spread, ratio = entry.spreads.get(metric.name), entry.ratios.get(metric.name)
        row += [number(spread.median), f"{spread.percent:.1f} %"] if spread else ["–", ""]
        row.append(ratio_words(ratio) if ratio else "")
    return [*row, "; ".join([entry.why] if entry.why else entry.remarks)]


def _goals(verdicts: list[Verdict]) -> list[str]:
    measured = [verdict for verdict in verdicts if verdict.met is not None or verdict.aim_met is not None]
    if not measured:
        return []
    missed = sum(verdict.met is False for verdict in measured)
    promised = sum(verdict.met is not None for verdict in measured)
    text = f"{promised - missed} of {promised} promises are kept by the bad end of the interval."
    rows = [(*goal_words(verdict.goal), *verdict_words(verdict)) for verdict in measured]
    return ["## Goals", text, table(("cell", "what", "must", "aim", "measured", "verdict"), rows)]


def goal_words(goal: Goal) -> tuple[str, str, str, str]:
    """Cell, subject, must and aim."""
    sign = "≥" if goal.at_least else "≤"
    unit = "×" if goal.rival else ""
    label = next(metric.label for metric in CELLS[goal.cell].metrics if metric.name == goal.metric)
    what = f"{goal.ours} ÷ {goal.rival}, {label}" if goal.rival else f"{goal.ours}, {label}"
    must, aim = (f"{sign} {bound:g}{unit}" if bound is not None else "" for bound in (goal.must, goal.aim))
    return goal.cell, what, must, aim


def verdict_words(verdict: Verdict) -> tuple[str, str]:
    """The measured figure and the judgement."""
    estimate = verdict.estimate
    measured = "failed" if estimate is None else ratio_words(estimate)
    if verdict.goal.rival is None:
        measured = measured.replace("×", "")
    words = []
    if verdict.met is not None:
        words.append("kept" if verdict.met else "**missed**")
    if verdict.aim_met is not None:
        words.append("aim reached" if verdict.aim_met else "aim not reached")
    return measured, ", ".join(words)


def _versions(run: Run) -> list[tuple[str, str]]:
    return [(server.title, server.version or f"not installed: {server.missing}") for server in run.servers]
