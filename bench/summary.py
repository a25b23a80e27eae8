"""A run turned into tables: what every report shows, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.cells import CELLS
from bench.model import Cell, Metric, Run
from bench.rivals import OURS
from bench.stats import Estimate, Spread, paired_ratio, spread

__all__ = ["Entry", "Table", "heading", "number", "ratio_words", "tables", "with_unit"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One server in one cell."""

    name: str
    title: str
    #: By metric name; empty when ``why`` says that there are no figures.
    spreads: dict[str, Spread] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    #: Ours divided by this server's, by metric name.
    ratios: dict[str, Estimate] = field(default_factory=dict)
    why: str | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """One cell with all who took part, in the order of the catalogue."""

    cell: Cell
    entries: list[Entry]

    def entry(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.name == name), None)


def tables(run: Run) -> list[Table]:
    """A table for each cell of ``run`` that this version of the suite still knows."""
    known = [CELLS[name] for name in run.cells if name in CELLS]
    return [Table(cell, _entries(run, cell)) for cell in known]


def _entries(run: Run, cell: Cell) -> list[Entry]:
    present = {sample.server for sample in run.samples if sample.cell == cell.name}
    entries = []
    for server in run.servers:
        if server.missing is not None:
            entries.append(Entry(server.name, server.title, why=f"not installed: {server.missing}"))
        elif server.name in present:
            entries.append(_entry(run, cell, server.name, server.title))
    return entries


def _entry(run: Run, cell: Cell, name: str, title: str) -> Entry:
    values = {metric.name: run.values(cell.name, name, metric.name) for metric in cell.metrics}
    failures = run.failures(cell.name, name)
    remarks = run.remarks(cell.name, name)
    if failures and any(values.values()):
        remarks.append(f"{len(failures)} of {run.rounds} rounds failed: {failures[-1]}")
    ratios = {}
    for metric in cell.metrics:
        ratio = paired_ratio(run.values(cell.name, OURS, metric.name), values[metric.name])
        if name != OURS and ratio is not None:
            ratios[metric.name] = ratio
    return Entry(
        name,
        title,
        {metric: spread(list(rounds.values())) for metric, rounds in values.items() if rounds},
        {metric: list(rounds.values()) for metric, rounds in values.items() if rounds},
        ratios,
        None if any(values.values()) else f"failed: {failures[-1]}" if failures else "no figures",
        remarks,
    )


def heading(run: Run) -> list[str]:
    """Sentences that stand above every report."""
    machine = run.machine
    return [
        f"Measured on {run.date} with fastws {machine['fastws']}, engine {machine['engine']}, "
        f"hot path {machine['hot path']}, {machine['python']}, uvloop {machine['uvloop']}.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}; {machine['system']}, "
        f"kernel {machine['kernel']}; {machine['pinning']}.",
        f"{run.idle} {run.rounds} rounds; figures are medians, ± is half the distance of the quartiles, "
        "ratios are paired within the round, in brackets the 95 % bootstrap interval.",
    ]


def number(value: float) -> str:
    """Three significant digits, as a person would write them: 0.42, 5.31, 184 k, 2.73 M."""
    for limit, divisor, suffix in ((1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if abs(value) >= limit * 0.9995:
            return _three(value / divisor) + suffix
    return f"{value:,.0f}" if abs(value) >= 1000 else _three(value)


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"


def with_unit(value: float, metric: Metric) -> str:
    gap = "" if metric.unit.startswith("/") else " "
    return f"{number(value)}{gap}{metric.unit}"


def ratio_words(ratio: Estimate) -> str:
    """``1.23× (1.20-1.27)``; the interval is left out after a single round."""
    if ratio.n < 2:
        return f"{number(ratio.mid)}×"
    return f"{number(ratio.mid)}× ({number(ratio.low)}–{number(ratio.high)})"
