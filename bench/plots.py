"""Plots as SVG text, drawn by matplotlib without a display."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.rivals import OURS
from bench.summary import Entry, Table, with_unit

__all__ = ["cell_plot", "overview_plot"]

INK, OURS_FILL, THEIR_FILL, LIMIT_FILL, FAINT = "#1b1f24", "#c2410c", "#94a3b8", "#cbd5e1", "#d9dee4"
#: The page's names for them.
VARIABLES = {INK: "ink", OURS_FILL: "ours", THEIR_FILL: "theirs", LIMIT_FILL: "limit", FAINT: "line"}
#: Beyond this ratio of the largest to the smallest a linear axis hides the small ones.
LOG_FROM = 40
#: A run gives the same file whenever it is drawn.
NO_METADATA = {"Date": None, "Creator": None}


def cell_plot(table: Table) -> str:
    """The cell's first metric, a bar for each server and a dot for each round; "" without figures.

    For a page: colours become CSS variables and the text stays text, so it follows the page's theme.
    """
    entries = [entry for entry in table.entries if table.cell.metric.name in entry.spreads]
    if not entries:
        return ""
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": table.cell.name}):
        figure = Figure(figsize=(8.4, 0.5 + 0.27 * len(entries)), layout="constrained")
        _bars(figure.add_subplot(), table, entries)
        return _themed(_svg(figure, transparent=True), f"{table.cell.title}: {table.cell.metric.label}")


def overview_plot(chosen: Sequence[Table], title: str) -> str:
    """A panel for each of ``chosen``: a whole SVG file, with a white ground for dark pages."""
    count = max(sum(table.cell.metric.name in entry.spreads for entry in table.entries) for table in chosen)
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "overview"}):
        rows = (len(chosen) + 1) // 2
        size = (11, (0.9 + 0.27 * count) * rows + 0.4)
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
        for position, table in enumerate(chosen, 1):
            axes = figure.add_subplot(rows, 2, position)
            entries = [entry for entry in table.entries if table.cell.metric.name in entry.spreads]
            axes.set_title(table.cell.title, fontsize=10, color=INK, loc="left")
            _bars(axes, table, entries)
        return _svg(figure, transparent=False)


def _bars(axes: Axes, table: Table, entries: list[Entry]) -> None:
    metric = table.cell.metric
    best_first = -1 if metric.more_is_better else 1
    entries = sorted(entries, key=lambda entry: best_first * entry.spreads[metric.name].median)
    medians = [entry.spreads[metric.name].median for entry in entries]
    places = range(len(entries))
    axes.barh(places, medians, color=[_fill(entry) for entry in entries], height=0.72)
    for place, entry in zip(places, entries, strict=True):
        rounds = entry.values[metric.name]
        axes.plot(rounds, [place] * len(rounds), "|", color=INK, markersize=6, alpha=0.55)
        text, end = with_unit(medians[place], metric), (max(rounds), place)
        axes.annotate(text, end, (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(list(places), [entry.title for entry in entries], fontsize=9, color=INK)
    axes.invert_yaxis()
    _dress(axes, medians, max(max(entry.values[metric.name]) for entry in entries))


def _dress(axes: Axes, medians: list[float], furthest: float) -> None:
    lowest, highest = min(medians), max(medians)
    # A figure beside its furthest round is left out where that lies outside.
    if lowest > 0 and highest / lowest > LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(lowest / 3, max(highest * 4, furthest * 1.5))
    else:
        axes.set_xlim(0, max(highest * 1.22, furthest * 1.1))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=8, colors=INK, color=FAINT)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.patch.set_visible(False)


def _tick(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"


def _fill(entry: Entry) -> str:
    if entry.name.partition("-")[0] == OURS:
        return OURS_FILL
    return LIMIT_FILL if entry.name.startswith("bare-") else THEIR_FILL


def _svg(figure: Figure, *, transparent: bool) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=NO_METADATA, transparent=transparent)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _themed(svg: str, label: str) -> str:
    """Make an SVG file a part of a page: no prolog, its width the page's, its colours the theme's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{label}"', svg, count=1)
    svg = re.sub(r' width="[^"]*pt"', "", svg, count=1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
