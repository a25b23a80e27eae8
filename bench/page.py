"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.goals import judge
from bench.markdown import goal_words, verdict_words
from bench.model import Run
from bench.plots import cell_plot
from bench.rivals import OURS
from bench.stats import Estimate
from bench.summary import heading, number, ratio_words, tables

__all__ = ["page"]


def page(run: Run) -> str:
    """Tables, goals and plots, for a browser that may be offline."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, ratio=ratio_words, side=side)
    cells = tables(run)
    rivals = [server for server in run.servers if server.name != OURS and server.missing is None]
    return environment.get_template("page.html.j2").render(
        run=run,
        ours=OURS,
        heading=heading(run),
        tables=cells,
        plots={table.cell.name: cell_plot(table) for table in cells},
        rivals=[server for server in rivals if any(table.entry(server.name) for table in cells)],
        verdicts=[
            (verdict, goal_words(verdict.goal), verdict_words(verdict))
            for verdict in judge(run)
            if verdict.met is not None or verdict.aim_met is not None
        ],
    )


def side(ratio: Estimate, *, more_is_better: bool) -> str:
    """A word for the colour: is ours better, worse, or is the interval on both sides of 1?"""
    if ratio.low <= 1 <= ratio.high:
        return "level"
    return "better" if (ratio.mid > 1) == more_is_better else "worse"
