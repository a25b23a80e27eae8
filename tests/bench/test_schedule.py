"""Who is measured when, with a server that serves nothing and a driver that drives nothing."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench.cells import CELLS, QUICK_CELLS
from bench.goals import GOALS, rows
from bench.launch import Running, StartError, running
from bench.machine import Cores, describe, idle_check
from bench.model import Cell, load
from bench.rivals import DEFAULT_SERVERS, NotInstalled, Server, catalogue, extra, record
from bench.run import RunOptions, choose, execute
from bench.schedule import Outcome, Plan, measure, participants

NO_CORES = Cores(None, None)
#: Listens, and lives until it is ended.
PATIENT = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
)


def server(name: str, code: str = PATIENT, can: str = "echo broadcast") -> Server:
    return Server(name, name, frozenset(can.split()), lambda: [sys.executable, "-c", code], lambda: "1")


def plan(*servers: Server, cells: tuple[str, ...] = ("echo-16",), rounds: int = 1) -> Plan:
    return Plan([CELLS[name] for name in cells], servers, rounds, NO_CORES)


@dataclass
class Fixed:
    """A driver whose clients do nothing but note when it is their turn."""

    events: list[tuple[str, str]] = field(default_factory=list)
    at_turn: Callable[[Running], None] = lambda running: None

    @contextmanager
    def __call__(self, cell: Cell, server: Server, running: Running) -> Iterator[Fixed.Clients]:
        self.events.append(("connect", server.name))
        yield self.Clients(self, server.name, running)
        self.events.append(("end", server.name))

    @dataclass
    class Clients:
        driver: Fixed
        name: str
        running: Running

        def turn(self) -> None:
            self.driver.events.append(("turn", self.name))
            self.driver.at_turn(self.running)

        def outcome(self) -> Outcome:
            return Outcome({"rate": 5.0}, None, ("generator saturated",))


def test_rounds_are_outermost_and_nobody_always_comes_first() -> None:
    names = ["a", "b", "c"]
    order = [
        (sample.round, sample.cell, sample.server)
        for sample in measure(plan(*map(server, names), cells=("echo-16", "room-100"), rounds=3), Fixed())
    ]
    assert [entry[:2] for entry in order[::3]] == [
        (n, cell) for n in range(3) for cell in ("echo-16", "room-100")
    ]
    groups = [tuple(entry[2] for entry in order[i : i + 3]) for i in range(0, len(order), 3)]
    assert all(sorted(group) == names for group in groups)
    assert len(set(groups)) > 1


def test_the_servers_of_a_cell_follow_each_other_in_short_turns() -> None:
    driver = Fixed()
    list(measure(plan(server("a"), server("b")), driver))
    turns = CELLS["echo-16"].turns
    what = [event for event, _ in driver.events]
    assert what == ["connect"] * 2 + ["turn"] * 2 * turns + ["end"] * 2
    pairs = [tuple(name for _, name in driver.events[i : i + 2]) for i in range(2, 2 + 2 * turns, 2)]
    assert set(pairs) == {("a", "b"), ("b", "a")}


def test_where_memory_is_measured_servers_are_alone() -> None:
    driver = Fixed()
    list(measure(plan(server("a", can="echo idle"), server("b", can="echo idle"), cells=("idle",)), driver))
    assert [event for event, _ in driver.events] == ["connect", "turn", "end"] * 2


def test_each_figure_comes_from_a_fresh_server() -> None:
    pids = set()

    def note(running: Running) -> None:
        with socket.create_connection(("127.0.0.1", running.port)):
            pids.add(running.process.pid)

    samples = list(measure(plan(server("a"), rounds=3), Fixed(at_turn=note)))
    assert [sample.metrics for sample in samples] == [{"rate": 5.0}] * 3 and len(pids) == 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_only_who_can_takes_part() -> None:
    echo, both = server("echo", can="echo"), server("both", can="echo tls deflate broadcast")
    assert participants(CELLS["fanout-16"], [echo, both]) == [both]
    assert participants(CELLS["tls-echo"], [echo, both]) == [both]
    assert len(plan(echo, both, cells=("echo-16", "fanout-16"), rounds=2)) == 6


def test_a_server_that_does_not_start_is_a_failure_with_its_last_line_and_the_others_go_on() -> None:
    broken = server("a", "print('first'); raise SystemExit('no such certificate')")
    samples = {sample.server: sample for sample in measure(plan(broken, server("b")), Fixed())}
    assert samples["a"].failure == "ended at its start: no such certificate" and not samples["a"].metrics
    assert samples["b"].failure is None and samples["b"].metrics == {"rate": 5.0}


def test_a_server_that_dies_while_it_is_driven_is_a_failure() -> None:
    def kill(running: Running) -> None:
        running.process.kill()
        running.process.wait()

    (sample,) = measure(plan(server("a")), Fixed(at_turn=kill))
    assert sample.failure == "the server ended: exit status -9"


def test_a_command_that_is_not_there_is_a_failure() -> None:
    absent = Server("a", "a", frozenset({"echo"}), lambda: ["/no/such/program"], lambda: "1")
    (sample,) = measure(plan(absent), Fixed())
    assert sample.failure is not None and sample.failure.startswith("cannot start")


def test_a_server_gets_its_core() -> None:
    core = min(os.sched_getaffinity(0))
    with running(server("a"), core) as process:
        assert os.sched_getaffinity(process.process.pid) == {core}


def test_a_server_of_several_processes_has_all_cores() -> None:
    free, cores = os.sched_getaffinity(0), Cores(min(os.sched_getaffinity(0)), None)
    seen = {}

    def note(running: Running) -> None:
        seen[running.process.pid] = os.sched_getaffinity(running.process.pid)

    for one in (server("a"), replace(server("b"), is_pinned=False)):
        (_,) = measure(replace(plan(one), cores=cores), Fixed(at_turn=note))
    assert list(seen.values()) == [{cores.server}, free]
    assert [each.name for each in catalogue().values() if not each.is_pinned] == ["fastws-workers-2"]


def test_importing_is_measured_and_a_broken_import_is_a_failure() -> None:
    good = Server("good", "good", frozenset({"import"}), list, lambda: "1", first_line="import json.tool")
    bad = Server("bad", "bad", frozenset({"import"}), list, lambda: "1", first_line="import no_such_module")
    samples = {sample.server: sample for sample in measure(plan(good, bad, cells=("import",)), Fixed())}
    assert 0 < samples["good"].metrics["import_ms"] < 5000
    assert samples["bad"].failure is not None and "No module named" in samples["bad"].failure


def test_what_is_missing_is_recorded_and_nothing_else_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler, no Go, no node
    monkeypatch.setattr("bench.builds.BUILD", tmp_path / "nothing-built")
    found = {name: record(one) for name, one in catalogue().items()}
    assert (
        found["gorilla"].missing == "Go is not installed" and found["ws"].missing == "node is not installed"
    )
    assert found["bare-echo"].missing == "no C compiler is installed"
    monkeypatch.setattr("importlib.metadata.version", lambda name: (_ for _ in ()).throw(ImportError(name)))
    assert all(
        record(one).missing for name, one in catalogue().items() if name in ("picows", "uvicorn-wsproto")
    )


def test_a_missing_rival_is_a_row_and_not_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> str:
        raise NotInstalled("the Python package b is not installed")

    servers = {"a": server("a"), "b": Server("b", "b", frozenset({"echo"}), list, absent)}
    monkeypatch.setattr("bench.run.catalogue", lambda: servers)
    monkeypatch.setattr("bench.run.idle_check", lambda: ("Idle.", True))
    said: list[str] = []
    options = RunOptions(only=["a,b/echo-16"], rounds=2, json_file=tmp_path / "run.json")
    result, path = execute(options, said.append, Fixed())
    assert result is not None and load(path) == result
    assert [(one.name, one.missing) for one in result.servers] == [
        ("a", None),
        ("b", "the Python package b is not installed"),
    ]
    assert result.values("echo-16", "a", "rate") == {0: 5, 1: 5} and not result.values("echo-16", "b", "rate")
    assert "b: not installed: the Python package b is not installed" in said
    assert any("generator saturated" in line for line in said)


def test_a_machine_that_has_to_be_idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.run.idle_check", lambda: ("NOT idle.", False))
    said: list[str] = []
    result, path = execute(RunOptions(json_file=tmp_path / "x", require_idle=True), said.append, Fixed())
    assert result is None and said == ["NOT idle."] and not path.exists()


def test_a_run_that_is_interrupted_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.run.catalogue", lambda: {"a": server("a")})
    monkeypatch.setattr("bench.run.idle_check", lambda: ("Idle.", True))
    turns = itertools.count()

    def interrupt(running: Running) -> None:
        if next(turns) == 2 * CELLS["echo-16"].turns:
            raise KeyboardInterrupt

    driver = Fixed(at_turn=interrupt)
    result, path = execute(RunOptions(only=["a/echo-16"], json_file=tmp_path / "x"), lambda _: None, driver)
    assert result is not None and len(load(path).samples) == 2


def test_choosing() -> None:
    def names(options: RunOptions) -> tuple[list[str], list[str]]:
        cells, servers = choose(options)
        return [cell.name for cell in cells], [server.name for server in servers]

    assert names(RunOptions()) == (list(CELLS), list(DEFAULT_SERVERS))
    cells, servers = names(RunOptions(quick=True))
    assert tuple(cells) == QUICK_CELLS and len(servers) == 5 and servers[0] == "fastws"
    assert names(RunOptions(only=["ws,pico*/echo-1*", "/idle"])) == (
        ["echo-16", "echo-16x16", "echo-16k", "echo-1m", "idle"],
        ["picows", "ws"],
    )
    assert names(RunOptions(only=["/import"]))[1] == list(DEFAULT_SERVERS)
    assert names(RunOptions(extra=["uws=/opt/uws/server --fast"]))[1][-1] == "uws"
    assert {cell.seconds for cell in choose(RunOptions(seconds=0.5))[0]} == {0.5, None}


def test_the_selection_for_the_goals_measures_just_what_they_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells, servers = choose(RunOptions(goals=True, extra=["uws=/opt/uws"]))
    assert {cell.name for cell in cells} == {goal.cell for goal in GOALS}
    seconds = {cell.name: cell.seconds for cell in cells}
    assert (seconds["echo-16"], seconds["room-400"], seconds["import"]) == (1.0, 2.0, None)
    whole = Plan(cells, servers, 1, NO_CORES, rows=rows())
    pairs = [(cell.name, one.name) for cell in cells for one in whole.participants(cell)]
    assert sorted(pairs) == sorted(rows()) and len(whole) == len(pairs)
    assert ("echo-16k", "fastws") not in pairs and ("echo-16", "ws") not in pairs  # no goal asks for it

    monkeypatch.setattr("bench.run.catalogue", lambda: {name: server(name) for name in ("fastws", "ws")})
    monkeypatch.setattr("bench.run.idle_check", lambda: ("Idle.", True))
    options = RunOptions(goals=True, only=["/echo-16,fanout-16"], rounds=1, json_file=tmp_path / "x")
    result, _ = execute(options, lambda _: None, Fixed())
    assert result is not None
    measured = [(sample.cell, sample.server) for sample in result.samples]
    assert sorted(measured) == [("echo-16", "fastws"), ("fanout-16", "fastws"), ("fanout-16", "ws")]


@pytest.mark.parametrize("only", ["nobody/", "/no-cell", "fastws/echo-17"])
def test_a_name_that_fits_nothing_is_refused(only: str) -> None:
    with pytest.raises(ValueError, match="no (server|cell)"):
        choose(RunOptions(only=[only]))


def test_extra_servers() -> None:
    one = extra("uws='/a b/server' --fast")
    assert one.argv(80, ("c", "k")) == ["/a b/server", "--fast", "80", "c", "k"]
    for text in ("uws", "=command", "uws=", ""):
        with pytest.raises(ValueError, match="is not NAME=COMMAND"):
            extra(text)


def test_our_server_is_started_by_its_own_command() -> None:
    argv = catalogue()["fastws"].argv(80, ("c", "k"))
    assert argv[1:5] == ["-m", "fastws", "serve", "--no-access-log"]
    assert argv[5:] == ["--port", "80", "--ssl-certfile", "c", "--ssl-keyfile", "k"]


def test_the_idle_check_tells_words_and_the_machine_is_described() -> None:
    sentence, idle = idle_check(0.2)
    assert ("was idle" if idle else "NOT idle") in sentence and "core 0" in sentence
    assert {"cpu", "kernel", "python", "fastws", "engine", "uvloop"} <= set(describe())


def test_running_waits_for_the_port_and_gives_up_on_who_never_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.launch.START_SECONDS", 0.3)
    with (
        pytest.raises(StartError, match="accepts no connection"),
        running(server("a", "import time; time.sleep(60)"), None),
    ):
        raise AssertionError("not reached")
