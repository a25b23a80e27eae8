"""The values that pass between the parts of the suite, and their JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Cell", "Metric", "Run", "Sample", "ServerRecord", "load", "save"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a cell. ``name`` is its key in a sample."""

    name: str
    label: str
    unit: str
    more_is_better: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the matrix: what the clients do, and which figures count."""

    name: str
    title: str
    #: One of ``fastws bench``: ``echo``, ``fanout``, ``room``, ``connect``, ``idle``, ``feed``,
    #: ``keyed`` or ``resume``; or ``client``, or ``import``.
    scenario: str
    #: What a server must be able to do to take part; see ``rivals.py``.
    needs: frozenset[str]
    #: The first is the one that the cell is about.
    metrics: tuple[Metric, ...]
    options: tuple[str, ...] = ()
    #: Seconds of measurement; None where the scenario ends by itself.
    seconds: float | None = 2.0
    #: The same where a selection is made to end early.
    short_seconds: float = 1.0
    #: Into how many turns they are cut, in which the servers follow each other; with 1, each is started,
    #: measured and ended before the next.
    turns: int = 10

    @property
    def tls(self) -> bool:
        return "tls" in self.needs

    @property
    def metric(self) -> Metric:
        return self.metrics[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """One server in one cell in one round."""

    cell: str
    server: str
    round: int
    metrics: dict[str, float] = field(default_factory=dict)
    #: Why the figures do not count (clients were lost, the server ended...); None when they do.
    failure: str | None = None
    #: What a reader must know beside the figures, such as "generator saturated".
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server as it was found: its version, or why there is no row of numbers for it."""

    name: str
    title: str
    version: str | None = None
    missing: str | None = None


@dataclass(slots=True)
class Run:
    """Everything one call of ``python -m bench`` learned."""

    date: str
    rounds: int
    machine: dict[str, str]
    #: What the idle check said, and whether it was content.
    idle: str
    idle_ok: bool
    servers: list[ServerRecord]
    cells: list[str]
    samples: list[Sample] = field(default_factory=list)
    quick: bool = False
    format: int = FORMAT

    def values(self, cell: str, server: str, metric: str) -> dict[int, float]:
        """Round -> figure, of the samples that count."""
        return {
            sample.round: sample.metrics[metric]
            for sample in self._of(cell, server)
            if sample.failure is None and metric in sample.metrics
        }

    def failures(self, cell: str, server: str) -> list[str]:
        return [sample.failure for sample in self._of(cell, server) if sample.failure is not None]

    def remarks(self, cell: str, server: str) -> list[str]:
        return sorted({remark for sample in self._of(cell, server) for remark in sample.remarks})

    def _of(self, cell: str, server: str) -> Iterable[Sample]:
        return (sample for sample in self.samples if sample.cell == cell and sample.server == server)


def save(run: Run, path: Path) -> None:
    """Write ``run`` as JSON; a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(orjson.dumps(asdict(run), option=orjson.OPT_INDENT_2))
    part.replace(path)


def load(path: Path) -> Run:
    """Read what ``save`` wrote. Raises ValueError with one sentence when it is something else."""
    try:
        data: dict[str, Any] = orjson.loads(path.read_bytes())
        if data["format"] != FORMAT:
            raise ValueError(f"{path} has format {data['format']}, this is a reader of format {FORMAT}")
        servers = [ServerRecord(**record) for record in data.pop("servers")]
        samples = [Sample(**sample) for sample in data.pop("samples")]
        return Run(servers=servers, samples=samples, **data)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a result of python -m bench: {error}") from error
