"""Who is measured when: rivals interleaved turn by turn, a fresh server for every figure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol

from bench.imports import import_milliseconds
from bench.launch import Running, StartError, running
from bench.machine import Cores
from bench.model import Cell, Sample
from bench.rivals import UNDER_CLIENTS, NotInstalled, Server, catalogue

__all__ = ["Driver", "Measuring", "Outcome", "Plan", "measure", "participants"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clients reported of one server in one cell."""

    metrics: dict[str, float]
    failure: str | None = None
    remarks: tuple[str, ...] = ()


class Measuring(Protocol):
    """Clients that are connected to one server, and wait for their turns."""

    def turn(self) -> None:
        """Measure for the cell's seconds of a turn, and return when it is over."""

    def outcome(self) -> Outcome:
        """End the clients, and tell what all turns gave."""


#: Connects the clients of one cell to a running server, and warms both up. Failures of a server are in the
#: outcome; exceptions are failures of the suite.
Driver = Callable[[Cell, Server, Running], AbstractContextManager[Measuring]]


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
            for group in [servers] if cell.turns > 1 else [[server] for server in servers]:
                yield from _samples(plan, driver, cell, group, number, order)


def _samples(
    plan: Plan, driver: Driver, cell: Cell, servers: Sequence[Server], number: int, order: random.Random
) -> Iterator[Sample]:
    if cell.scenario == "import":
        outcomes = [_import(plan, server) for server in servers]
    else:
        outcomes = _in_turn(plan, driver, cell, servers, order)
    for server, outcome in zip(servers, outcomes, strict=True):
        yield Sample(cell.name, server.name, number, outcome.metrics, outcome.failure, list(outcome.remarks))


def _in_turn(
    plan: Plan, driver: Driver, cell: Cell, servers: Sequence[Server], order: random.Random
) -> list[Outcome]:
    """All servers at once, of which one is measured and the others rest, turn by turn."""
    with ExitStack() as stack:
        parts = [_Part(plan, driver, cell, server, stack) for server in servers]
        turns = list(parts)
        for _ in range(cell.turns):
            order.shuffle(turns)
            for part in turns:
                part.turn()
        return [part.outcome() for part in parts]


class _Part:
    """One server of a cell with its clients, or why there is none."""

    def __init__(self, plan: Plan, driver: Driver, cell: Cell, server: Server, stack: ExitStack) -> None:
        self._measuring: Measuring | None = None
        self._failure: str | None = None
        started = catalogue()[UNDER_CLIENTS] if cell.scenario == "client" else server
        try:
            tls = plan.tls if cell.tls else None
            core = plan.cores.server if started.is_pinned else None
            self._running = stack.enter_context(running(started, core, tls))
        except (StartError, NotInstalled) as reason:
            self._failure = str(reason)
        else:
            self._measuring = stack.enter_context(driver(cell, server, self._running))

    def turn(self) -> None:
        if self._measuring is not None:
            self._measuring.turn()

    def outcome(self) -> Outcome:
        if self._measuring is None:
            return Outcome({}, self._failure)
        outcome = self._measuring.outcome()
        if self._running.process.poll() is not None:
            words = f"the server ended: {self._running.last_words()}"
            return Outcome(outcome.metrics, words, outcome.remarks)
        return outcome


def _import(plan: Plan, server: Server) -> Outcome:
    assert server.first_line is not None
    try:
        return Outcome({"import_ms": import_milliseconds(server.first_line, plan.cores.server)})
    except RuntimeError as error:
        return Outcome({}, str(error))
