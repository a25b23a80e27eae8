"""The cells of clients: each library's client for real, and what a failing one leaves."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import clientside
from bench.cells import CELLS
from bench.clientside import drive_client
from bench.driver import LoadDriver
from bench.launch import running
from bench.machine import Cores
from bench.rivals import CLIENTS, UNDER_CLIENTS, catalogue, record
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
def test_each_client_echoes(server) -> None:
    under = SERVERS[UNDER_CLIENTS]
    for needed in (server, under):
        if missing := record(needed).missing:
            pytest.skip(f"{needed.name}: {missing}")
    with running(under, None) as process:
        for cell in CLIENT_CELLS:
            short = replace(cell, seconds=0.2)
            outcome = LoadDriver(None)(short, server, process)
            assert outcome.failure is None
            assert outcome.metrics["rate"] > 5 and outcome.metrics["cpu_us"] > 0


@pytest.mark.live
@pytest.mark.parametrize("name", [server.name for server in WITH_CLIENT])
def test_a_client_without_a_server_is_a_failure_in_its_words(name: str) -> None:
    if missing := record(SERVERS[name]).missing:
        pytest.skip(missing)
    outcome = drive_client(replace(CELLS["client-echo"], seconds=0.2), name, 1, None)
    assert outcome.failure is not None and "connect" in outcome.failure.lower() and not outcome.metrics


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('no such option')", "no such option"),
        ("import os; os._exit(3)", "the client ended with 3"),
        ("import time; time.sleep(60)", "the client did not end in time"),
    ],
)
def test_what_a_failing_client_says_is_the_row(
    code: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "some_client.py").write_text(code)
    monkeypatch.setattr(clientside, "CLIENTS", tmp_path)
    monkeypatch.setattr(clientside, "PATIENCE", 1.0)
    cell = replace(CELLS["client-echo"], seconds=0.1)
    assert drive_client(cell, "some", 1, None) == Outcome({}, words)


def test_clients_run_against_the_one_bare_server(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import socket, sys, time; s = socket.create_server(('', int(sys.argv[-1]))); time.sleep(60)"
    bare = replace(SERVERS[UNDER_CLIENTS], command=lambda: [sys.executable, "-c", code, "bare"])
    monkeypatch.setattr("bench.schedule.catalogue", lambda: {UNDER_CLIENTS: bare})
    commands: list[object] = []

    def driver(cell, server, process) -> Outcome:
        commands.append(process.process.args)
        return Outcome({"rate": 1.0})

    plan = Plan([CELLS["client-16"]], [SERVERS["picows"]], 1, Cores(None, None))
    (sample,) = measure(plan, driver)
    assert sample.server == "picows" and sample.metrics == {"rate": 1.0}
    (command,) = commands
    assert isinstance(command, list) and "bare" in command
