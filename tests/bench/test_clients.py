"""The cells of clients: each library's client for real, and what a failing one leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from bench.cells import CELLS
from bench.driver import LoadDriver
from bench.launch import Running, running
from bench.machine import Cores
from bench.model import Cell
from bench.rivals import CLIENTS, UNDER_CLIENTS, Server, catalogue, record
from bench.schedule import Outcome, Plan, measure

SERVERS = catalogue()
CLIENT_CELLS = [cell for cell in CELLS.values() if cell.scenario == "client"]
WITH_CLIENT = [server for server in SERVERS.values() if "client" in server.can]


def test_every_client_file_belongs_to_a_row_and_every_row_has_its_file() -> None:
    files = {path.name for path in CLIENTS.glob("[!_]*.py")}
    assert files == {f"{server.name.replace('-', '_')}_client.py" for server in WITH_CLIENT}
    assert len(WITH_CLIENT) == 5


@pytest.mark.live
@pytest.mark.parametrize("server", WITH_CLIENT, ids=lambda server: server.name)
def test_each_client_echoes_turn_by_turn(server: Server) -> None:
    under = SERVERS[UNDER_CLIENTS]
    for needed in (server, under):
        if missing := record(needed).missing:
            pytest.skip(f"{needed.name}: {missing}")
    with running(under, None) as process:
        for cell in CLIENT_CELLS:
            short = replace(cell, seconds=0.2, turns=2)
            with LoadDriver(None)(short, server, process) as clients:
                for _ in range(2):
                    begun = time.monotonic()
                    clients.turn()
                    assert time.monotonic() - begun > 0.09
                time.sleep(0.1)  # between turns nothing is counted
                outcome = clients.outcome()
            assert outcome.failure is None
            assert outcome.metrics["rate"] > 5 and outcome.metrics["cpu_us"] > 0


@pytest.mark.live
@pytest.mark.parametrize("name", [server.name for server in WITH_CLIENT])
def test_a_client_without_a_server_is_a_failure_in_its_words(name: str) -> None:
    if missing := record(SERVERS[name]).missing:
        pytest.skip(missing)
    nobody = cast(Running, SimpleNamespace(port=1))
    with LoadDriver(None)(replace(CELLS["client-echo"], seconds=0.2), SERVERS[name], nobody) as clients:
        clients.turn()
        outcome = clients.outcome()
    assert outcome.failure is not None and "connect" in outcome.failure.lower() and not outcome.metrics


def test_clients_run_against_the_one_bare_server(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import socket, sys, time; s = socket.create_server(('', int(sys.argv[-1]))); time.sleep(60)"
    bare = replace(SERVERS[UNDER_CLIENTS], command=lambda: [sys.executable, "-c", code, "bare"])
    monkeypatch.setattr("bench.schedule.catalogue", lambda: {UNDER_CLIENTS: bare})
    commands: list[object] = []

    class Clients:
        def turn(self) -> None:
            pass

        def outcome(self) -> Outcome:
            return Outcome({"rate": 1.0})

    @contextmanager
    def driver(cell: Cell, server: Server, running: Running) -> Iterator[Clients]:
        commands.append(running.process.args)
        yield Clients()

    plan = Plan([CELLS["client-16"]], [SERVERS["picows"]], 1, Cores(None, None))
    (sample,) = measure(plan, driver)
    assert sample.server == "picows" and sample.metrics == {"rate": 1.0}
    (command,) = commands
    assert isinstance(command, list) and "bare" in command
