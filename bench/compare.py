"""Two runs side by side: what changed, and how far the ratios can be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.cells import CELLS
from bench.markdown import table
from bench.model import Metric, Run
from bench.rivals import OURS
from bench.stats import Estimate, paired_ratio, spread, unpaired_ratio
from bench.summary import number

__all__ = ["Change", "Comparison", "compare", "comparison_text"]

#: Ratios of two runs on one idle machine are expected to agree this well, nine times in ten.
CLOSE = 0.15
OWN_HEAD = ("cell", "metric", "before", "after", "change", "95 % interval")
RATIO_HEAD = ("cell", "metric", "rival", "before", "after", "change")


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both runs: ours itself, or our ratio to the rival that ``server`` names."""

    cell: str
    metric: Metric
    server: str
    old: float
    new: float
    #: new / old: of ours the figure's, with its interval; of a rival that of the paired ratio.
    factor: float
    interval: Estimate | None = None

    @property
    def close(self) -> bool:
        return abs(self.factor - 1) <= CLOSE


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of ours the figures themselves, of each rival the ratio to it."""

    ours: list[Change]
    ratios: list[Change]

    @property
    def share_close(self) -> float:
        """How many of the ratios agree within 15 %; 1.0 when there is none to compare."""
        return sum(change.close for change in self.ratios) / len(self.ratios) if self.ratios else 1.0


def compare(old: Run, new: Run) -> Comparison:
    """What both runs measured; what only one has is left out."""
    return Comparison(list(_ours(old, new)), list(_ratios(old, new)))


def _metrics(old: Run, new: Run) -> Iterator[tuple[str, Metric]]:
    for name in old.cells:
        if name in new.cells and name in CELLS:
            for metric in CELLS[name].metrics:
                yield name, metric


def _ours(old: Run, new: Run) -> Iterator[Change]:
    for cell, metric in _metrics(old, new):
        before, after = (list(run.values(cell, OURS, metric.name).values()) for run in (old, new))
        if (factor := unpaired_ratio(after, before)) is not None:
            middles = spread(before).median, spread(after).median
            yield Change(cell, metric, OURS, *middles, factor.mid, factor)


def _ratios(old: Run, new: Run) -> Iterator[Change]:
    rivals = [server.name for server in old.servers if server.name != OURS]
    for cell, metric in _metrics(old, new):
        for rival in rivals:
            before, after = (_ratio(run, cell, rival, metric) for run in (old, new))
            if before and after:
                yield Change(cell, metric, rival, before.mid, after.mid, after.mid / before.mid)


def _ratio(run: Run, cell: str, rival: str, metric: Metric) -> Estimate | None:
    return paired_ratio(run.values(cell, OURS, metric.name), run.values(cell, rival, metric.name))


def comparison_text(old: Run, new: Run) -> str:
    """The comparison as Markdown."""
    result = compare(old, new)
    parts = [f"# {old.date} and {new.date}", *_differences(old, new)]
    parts += ["## fastws itself", table(OWN_HEAD, [_own_row(change) for change in result.ours])]
    count = sum(change.close for change in result.ratios)
    parts += [
        "## Ratios to the rivals",
        f"{count} of {len(result.ratios)} ratios ({result.share_close:.0%}) agree within {CLOSE:.0%}.",
        table(RATIO_HEAD, [_ratio_row(change) for change in result.ratios]),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(old: Run, new: Run) -> list[str]:
    """Say what besides the code may explain a change."""
    names = sorted(set(old.machine) | set(new.machine))
    changed = [name for name in names if old.machine.get(name) != new.machine.get(name)]
    lines = [f"- {name}: {old.machine.get(name)} → {new.machine.get(name)}" for name in changed]
    lines += [f"- {run.date}: {run.idle}" for run in (old, new) if not run.idle_ok]
    return ["\n".join(lines)] if lines else []


def _own_row(change: Change) -> list[str]:
    assert change.interval is not None
    low, high = 100 * (change.interval.low - 1), 100 * (change.interval.high - 1)
    sure = "" if low <= 0 <= high else " better" if (low > 0) == change.metric.more_is_better else " worse"
    unit = f"{change.metric.label} ({change.metric.unit})"
    percent = f"{100 * (change.factor - 1):+.1f} %{sure}"
    interval = f"{low:+.1f} to {high:+.1f} %"
    return [change.cell, unit, number(change.old), number(change.new), percent, interval]


def _ratio_row(change: Change) -> list[str]:
    mark = "" if change.close else " !"
    percent = f"{100 * (change.factor - 1):+.1f} %{mark}"
    before, after = (f"{number(ratio)}×" for ratio in (change.old, change.new))
    return [change.cell, change.metric.label, change.server, before, after, percent]
