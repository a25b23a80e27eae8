"""One call of the runner: choose, look, measure, and keep what was learned at every step."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from bench.cells import CELLS, QUICK_CELLS
from bench.certificate import make_certificate
from bench.driver import LoadDriver
from bench.goals import rows as rows_of_goals
from bench.launch import ROOT
from bench.machine import choose_cores, describe, idle_check
from bench.model import Cell, Run, Sample, save
from bench.rivals import DEFAULT_SERVERS, QUICK_SERVERS, Server, catalogue, extra, record
from bench.schedule import Driver, Plan, measure
from bench.summary import with_unit

__all__ = ["RunOptions", "choose", "execute"]

FULL_ROUNDS, QUICK_ROUNDS = 9, 3


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``python -m bench run``."""

    quick: bool = False
    #: Only the pairs of cell and server that a goal needs.
    goals: bool = False
    only: Sequence[str] = ()
    rounds: int | None = None
    seconds: float | None = None
    extra: Sequence[str] = ()
    json_file: Path | None = None
    require_idle: bool = False


def choose(options: RunOptions) -> tuple[list[Cell], list[Server]]:
    """The cells and servers asked for. Raises ValueError for a name or pattern that fits nothing."""
    extras = [extra(text) for text in options.extra]
    servers = catalogue() | {server.name: server for server in extras}
    default_servers, default_cells = _defaults(options)
    default_servers += [more.name for more in extras]
    sides = [text.partition("/")[::2] for text in options.only]
    chosen_servers = _matching([side[0] for side in sides], list(servers), default_servers, "server")
    chosen_cells = _matching([side[1] for side in sides], list(CELLS), default_cells, "cell")
    cells = [CELLS[name] for name in chosen_cells]
    return [_lasting(cell, options) for cell in cells], [servers[name] for name in chosen_servers]


def _defaults(options: RunOptions) -> tuple[list[str], list[str]]:
    """Servers and cells where ``only`` names none."""
    if options.quick:
        return list(QUICK_SERVERS), list(QUICK_CELLS)
    if options.goals:
        cells, servers = zip(*rows_of_goals(), strict=True)
        return list(servers), list(cells)
    return list(DEFAULT_SERVERS), list(CELLS)


def _matching(lists: list[str], known: list[str], default: list[str], kind: str) -> list[str]:
    patterns = [pattern for text in lists for pattern in text.split(",") if pattern]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(f"no {kind} {pattern!r}; there are {', '.join(known)}")
    wanted = [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return wanted if patterns else [name for name in known if name in default]


def _lasting(cell: Cell, options: RunOptions) -> Cell:
    seconds = options.seconds or (cell.short_seconds if options.quick or options.goals else cell.seconds)
    return cell if cell.seconds is None else replace(cell, seconds=seconds)


def execute(
    options: RunOptions, tell: Callable[[str], None], driver: Driver | None = None
) -> tuple[Run | None, Path]:
    """Measure, and save after every round. None when the machine had to be idle and was not."""
    cells, servers = choose(options)
    cores = choose_cores()
    idle, idle_ok = idle_check()
    tell(idle)
    date = datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes")
    path = options.json_file or ROOT / f"bench/results/{date[:16].replace(' ', '-').replace(':', '')}.json"
    if options.require_idle and not idle_ok:
        return None, path
    records = [record(server) for server in servers]
    for missing in (found for found in records if found.missing is not None):
        tell(f"{missing.name}: not installed: {missing.missing}")
    here = [server for server, found in zip(servers, records, strict=True) if found.missing is None]
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    machine = {**describe(), "pinning": cores.words()}
    names = [cell.name for cell in cells]
    run = Run(date, rounds, machine, idle, idle_ok, records, names, quick=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        tls = make_certificate(Path(folder))
        plan = Plan(cells, here, rounds, cores, tls, rows_of_goals() if options.goals else None)
        _measure_all(plan, driver or LoadDriver(cores.client), run, path, tell)
    return run, path


def _measure_all(plan: Plan, driver: Driver, run: Run, path: Path, tell: Callable[[str], None]) -> None:
    """Ctrl-C ends the run early; what has been measured is kept and reported."""
    started, total = time.monotonic(), len(plan)
    tell(f"{total} measurements in {plan.rounds} rounds; {plan.cores.words()}")
    try:
        for count, sample in enumerate(measure(plan, driver), 1):
            run.samples.append(sample)
            left = (time.monotonic() - started) / count * (total - count)
            tell(f"[{count}/{total}, {_minutes(left)} left] {_words(sample)}")
            if count == total or sample.round != run.samples[max(0, count - 2)].round:
                save(run, path)
    except KeyboardInterrupt:
        tell("interrupted: reporting what has been measured")
    save(run, path)
    tell(f"wrote {path}")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _words(sample: Sample) -> str:
    metrics = [metric for metric in CELLS[sample.cell].metrics if metric.name in sample.metrics]
    figures = [with_unit(sample.metrics[metric.name], metric) for metric in metrics]
    notes = [*([f"failed: {sample.failure}"] if sample.failure else []), *sample.remarks]
    return f"{sample.cell} {sample.server}: {', '.join([*figures, *notes])}"
