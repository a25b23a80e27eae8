"""The README's section of numbers, and its plot."""

from __future__ import annotations

from bench.markdown import table
from bench.model import Run
from bench.plots import overview_plot
from bench.rivals import OURS, VARIANTS
from bench.summary import Entry, Table, heading, number, tables

__all__ = ["BEGIN", "END", "PLOT", "readme_plot", "rewrite", "section"]

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PLOT = "docs/bench.svg"
#: What a reader of a README looks for; the rest is in the whole report.
COLUMNS = ("echo-16", "echo-16x16", "echo-1m", "fanout-16", "room-100", "connect", "idle")
PANELS = ("echo-16", "echo-16x16", "fanout-16", "room-100")


def section(run: Run) -> str:
    """The Markdown between the markers. Raises ValueError when no chosen cell was measured."""
    chosen = _chosen(run, COLUMNS)
    head = ["", *(f"{column.cell.title} ({column.cell.metric.label}{_unit(column)})" for column in chosen)]
    sentences = [sentence for sentence in heading(run) if sentence]
    return "\n\n".join([f"![Throughput beside the rivals]({PLOT})", table(head, _rows(chosen)), *sentences])


def readme_plot(run: Run) -> str:
    """The SVG file that the section shows."""
    title = f"fastws beside its rivals, {run.date[:10]}, {run.machine['cpu']}"
    return overview_plot(_chosen(run, PANELS), title)


def rewrite(text: str, new: str) -> str:
    """``text`` with ``new`` between the markers. Raises ValueError without exactly one pair of them."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"there is not one {BEGIN} before one {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.partition(END)[2]}"


def _chosen(run: Run, names: tuple[str, ...]) -> list[Table]:
    chosen = [cell for cell in tables(run) if cell.cell.name in names]
    found = [cell for cell in chosen if any(entry.spreads for entry in cell.entries)]
    if not found:
        raise ValueError(f"the run has none of the cells {', '.join(names)}")
    return found


def _unit(column: Table) -> str:
    return f", {column.cell.metric.unit}" if not column.cell.metric.unit.startswith("/") else "/s"


def _rows(columns: list[Table]) -> list[list[str]]:
    names = {entry.name: entry.title for column in columns for entry in column.entries if entry.spreads}
    rows = []
    for name, title in names.items():
        if name in VARIANTS:
            continue
        mark = "**" if name == OURS else ""
        cells = [_figure(column.entry(name), column.cell.metric.name) for column in columns]
        rows.append([f"{mark}{title}{mark}", *(f"{mark}{cell}{mark}" if cell else "" for cell in cells)])
    return rows


def _figure(entry: Entry | None, metric: str) -> str:
    if entry is None:
        return ""
    return number(entry.spreads[metric].median) if metric in entry.spreads else "fails"
