"""Who is measured when: rivals interleaved round by round, a fresh server for every figure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from bench.imports import import_milliseconds
from bench.launch import Running, StartError, running
from bench.machine import Cores
from bench.model import Cell, Sample
from bench.rivals import UNDER_CLIENTS, NotInstalled, Server, catalogue

__all__ = ["Driver", "Outcome", "Plan", "measure", "participants"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the generator reported of one run."""

    metrics: dict[str, float]
    failure: str | None = None
    remarks: tuple[str, ...] = ()


#: Drives one cell against a running server. Its exceptions are failures of the suite, not of a server.
Driver = Callable[[Cell, Server, Running], Outcome]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call of the runner measures."""

    cells: Sequence[Cell]
    servers: Sequence[Server]
    rounds: int
    cores: Cores
    tls: tuple[str, str] | None = None
    #: The pairs of cell and server that are wanted; None: each that can be.
    rows: Set[tuple[str, str]] | None = None

    def __len__(self) -> int:
        return self.rounds * sum(len(self.participants(cell)) for cell in self.cells)

    def participants(self, cell: Cell) -> list[Server]:
        able = participants(cell, self.servers)
        return able if self.rows is None else [one for one in able if (cell.name, one.name) in self.rows]


def participants(cell: Cell, servers: Sequence[Server]) -> list[Server]:
    return [server for server in servers if cell.needs <= server.can]


def measure(plan: Plan, driver: Driver) -> Iterator[Sample]:
    """Yield each sample as it comes. The order within a round is shuffled, the same in every run."""
    for number in range(plan.rounds):
        order = random.Random(number)
        for cell in plan.cells:
            servers = plan.participants(cell)
            order.shuffle(servers)
            for server in servers:
                yield _sample(plan, driver, cell, server, number)


def _sample(plan: Plan, driver: Driver, cell: Cell, server: Server, number: int) -> Sample:
    try:
        outcome = _import(plan, server) if cell.scenario == "import" else _load(plan, driver, cell, server)
    except (StartError, NotInstalled) as reason:
        outcome = Outcome({}, str(reason))
    return Sample(cell.name, server.name, number, outcome.metrics, outcome.failure, list(outcome.remarks))


def _load(plan: Plan, driver: Driver, cell: Cell, server: Server) -> Outcome:
    started = catalogue()[UNDER_CLIENTS] if cell.scenario == "client" else server
    with running(started, plan.cores.server, plan.tls if cell.tls else None) as process:
        outcome = driver(cell, server, process)
        if process.process.poll() is not None:
            return Outcome(outcome.metrics, f"the server ended: {process.last_words()}", outcome.remarks)
        return outcome


def _import(plan: Plan, server: Server) -> Outcome:
    assert server.first_line is not None
    try:
        return Outcome({"import_ms": import_milliseconds(server.first_line, plan.cores.server)})
    except RuntimeError as error:
        return Outcome({}, str(error))
