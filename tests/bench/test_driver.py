"""The seam to ``fastws bench``: its command line, its JSON, and the real thing once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from bench.cells import CELLS
from bench.certificate import make_certificate
from bench.driver import LoadDriver, arguments, read_report, times
from bench.launch import Running, running
from bench.rivals import catalogue
from bench.schedule import Outcome

SERVERS = catalogue()
REPORT: dict[str, Any] = {
    "rate": 1000.0,
    "latency": {"p50": 0.1, "p99": 0.2, "max": 5.0},
    "reach": 1.0,
    "ok": True,
    "opened": 16,
    "failed": 0,
    "lost": 0,
    "errors": [],
    "remarks": [],
    "saturated": None,
    "server": {"cpu_us": 4.5, "rss_kb": 2.0},
}


@pytest.fixture
def pretended() -> Running:
    return cast(Running, SimpleNamespace(port=5, process=SimpleNamespace(pid=77)))


def test_the_command_line_of_an_echo(pretended: Running) -> None:
    words = arguments(CELLS["echo-16x16"], SERVERS["picows"], pretended)
    assert words[:2] == ["ws://127.0.0.1:5/wsecho", "echo"]
    assert " ".join(words[2:]) == "--clients 16 --size 20 --depth 16 --turns --pid 77"


def test_the_command_line_of_a_room_that_merges(pretended: Running) -> None:
    words = arguments(CELLS["room-100"], SERVERS["gorilla-merge"], pretended)
    assert words[:2] == ["ws://127.0.0.1:5/ws", "room"] and words[-2:] == ["--merged-by", "\n"]


def test_the_command_lines_of_a_feed(pretended: Running) -> None:
    server = SERVERS["fastws-feed"]
    words = arguments(CELLS["feed"], server, pretended)
    assert words[:2] == ["ws://127.0.0.1:5/feed", "feed"] and "--turns" in words
    assert arguments(CELLS["feed-plain"], server, pretended)[:2] == ["ws://127.0.0.1:5/broadcast", "fanout"]
    words = arguments(CELLS["keyed"], server, pretended)
    assert words[:2] == ["ws://127.0.0.1:5/feed", "keyed"] and "--turns" not in words
    assert times(CELLS["keyed"]) == times(CELLS["resume"]) == []


STORM: dict[str, Any] = {
    "scenario": "resume",
    "ok": True,
    "errors": {},
    "returned": 1000,
    "cpu": 0.5,
    "live": {"p99": 40.0},
    "meanwhile": {"p99": 20.0},
}
KEYED: dict[str, Any] = {
    "scenario": "keyed",
    "ok": True,
    "errors": {},
    "kept_up": 500,
    "cpu": 0.25,
    "staleness": {"p99": 30.0},
    "fresh": {},
    "saturated": False,
}


@pytest.mark.parametrize(
    ("report", "metrics"),
    [
        (STORM, {"cpu_us": 500.0, "p99_ms": 40.0, "stayed_p99_ms": 20.0}),
        (KEYED, {"cpu_us": 500.0, "p99_ms": 30.0}),
    ],
)
def test_figures_of_one_run(report: dict[str, Any], metrics: dict[str, float]) -> None:
    cell = CELLS[report["scenario"]]
    assert read_report(report, cell) == Outcome(metrics)
    if cell is CELLS["keyed"]:
        slow = read_report({**report, "fresh": {"p99": 7.0}, "saturated": True}, cell)
        assert slow == Outcome({**metrics, "fresh_p99_ms": 7.0}, None, ("generator saturated",))
    assert read_report({**report, "ok": False, "errors": {"closed with 1006": 3}}, cell) == Outcome(
        {}, "closed with 1006"
    )


def test_the_command_line_over_tls(pretended: Running) -> None:
    words = arguments(CELLS["tls-fanout"], SERVERS["fastws"], pretended)
    assert words[0] == "wss://127.0.0.1:5/broadcast" and "--insecure" in words


def test_figures_are_read() -> None:
    got = read_report(REPORT, CELLS["echo-16"])
    assert got.metrics == {"rate": 1000, "cpu_us": 4.5, "rss_kb": 2, "p50_ms": 0.1, "p99_ms": 0.2}
    assert got.failure is None and got.remarks == ()


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"saturated": "generator saturated: 99 %"}, "generator saturated"),
        (
            {"remarks": ["the generator waited for its core for 39% of the time: and so on"]},
            "the generator had to wait for its core",
        ),
    ],
)
def test_what_a_reader_must_know_is_a_remark(change: dict[str, Any], remark: str) -> None:
    got = read_report({**REPORT, **change}, CELLS["echo-16"])
    assert got.remarks == (remark,) and got.metrics


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ok": False, "lost": 3, "remarks": ["other words"]}, "3 of 16 clients were lost"),
        (
            {"ok": False, "errors": [{"text": "closed by the server with 1008"}]},
            "closed by the server with 1008",
        ),
        ({"reach": 0.75}, "25.0% of the messages were not heard"),
        ({"server": None, "rate": 0.0, "ok": False}, "no figures"),
    ],
)
def test_figures_of_a_run_that_lost_something_do_not_count(change: dict[str, Any], reason: str) -> None:
    got = read_report({**REPORT, **change}, CELLS["room-100"])
    assert got.failure == reason and not got.metrics


def test_a_cell_without_its_own_figure_failed() -> None:
    assert read_report({**REPORT, "server": None}, CELLS["idle"]).failure == "no figures"


def test_the_time_of_a_cell_is_shared_by_its_turns() -> None:
    assert times(CELLS["echo-16"]) == ["--warmup", "0.4", "--duration", "0.2"]
    assert times(CELLS["idle"])[-1] == "1"


FAKE = """
import json, sys
args = sys.argv[1:]
if args[0].endswith("/wsecho"):
    sys.exit("fastws bench: no client could open")
turns = 0
print("rea", end="", flush=True)
print("dy", flush=True)
for line in sys.stdin:
    turns += 1
    print("ready", flush=True)
report = json.loads(%r)
report["rate"] = turns
with open(args[args.index("--json") + 1], "w") as file:
    json.dump(report, file)
"""


def fake(code: str) -> LoadDriver:
    return LoadDriver(None, (sys.executable, "-c", code))


def test_the_driver_gives_turns_and_reads_what_the_clients_wrote(pretended: Running) -> None:
    with fake(FAKE % orjson.dumps(REPORT).decode())(CELLS["fanout-16"], SERVERS["ws"], pretended) as clients:
        for _ in range(3):
            clients.turn()
        assert clients.outcome().metrics["rate"] == 3


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (FAKE % "{}", "fastws bench: no client could open"),
        ("print('ready', flush=True); input(); raise SystemExit('lost them all')", "lost them all"),
        ("print('ready', flush=True); raise SystemExit('gone')", "gone"),
        ("import os; os._exit(3)", "the clients ended with 3"),
        ("import time; time.sleep(60)", "the clients did not end in time"),
        ("import time; print('ready', flush=True); time.sleep(60)", "the clients did not end in time"),
    ],
)
def test_clients_that_fail_are_a_failure_in_their_words(
    code: str, words: str, pretended: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "time" in words:
        monkeypatch.setattr("bench.driver.PATIENCE", 1.0)
    with fake(code)(CELLS["echo-16"], SERVERS["ws"], pretended) as clients:
        for _ in range(2):
            time.sleep(0.1)  # until one that ends by itself has
            clients.turn()
        assert clients.outcome() == Outcome({}, words)


def test_no_clients_survive_what_goes_wrong(pretended: Running) -> None:
    driver = fake("import time; print('ready', flush=True); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt), driver(CELLS["echo-16"], SERVERS["ws"], pretended) as clients:
        raise KeyboardInterrupt
    assert clients.process.returncode == -9


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Running]]:
    files = make_certificate(tmp_path_factory.mktemp("tls"))
    with running(SERVERS["fastws"], None) as plain, running(SERVERS["fastws"], None, files) as tls:
        yield {False: plain, True: tls}


@pytest.mark.live
@pytest.mark.skipif(
    find_spec("fastws.loadgen._loadgen") is None, reason="the generator's C module is not built"
)
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, cell in CELLS.items()
        if cell.scenario not in ("import", "client") and "feed" not in cell.needs
    ],
)
def test_every_cell_is_understood_by_the_real_generator(name: str, ours: dict[bool, Running]) -> None:
    cell, server = CELLS[name], ours[CELLS[name].tls]
    # The memory of a few connections is in pages that the server had before.
    clients_option = ("--clients", "300" if cell.scenario == "idle" else "3")
    options = tuple(word.replace("1048576", "65536") for word in (*cell.options, *clients_option))
    short = replace(cell, options=options, seconds=0.2, turns=2)
    with LoadDriver(None)(short, SERVERS["fastws"], server) as clients:
        clients.turn()
        clients.turn()
        got = clients.outcome()
    assert got.failure is None and {metric.name for metric in cell.metrics} <= set(got.metrics)


@pytest.mark.live
@pytest.mark.skipif(
    find_spec("fastws.loadgen._loadgen") is None, reason="the generator's C module is not built"
)
def test_the_cells_of_feeds_are_understood_too() -> None:
    few = {
        "feed": "--clients 3",
        "feed-plain": "--clients 3",
        "keyed": "--clients 3 --stalled 1 --rate 100 --duration 1 --stall 0.3",
        "keyed-fast": "--clients 3 --rate 100 --duration 1 --stall 0.3",
        "keyed-slow": "--clients 4 --stalled 1 --slow 1 --rate 100 --duration 1 --stall 0.3",
        "resume": "--clients 10 --stayers 2",
    }
    assert list(few) == [name for name, cell in CELLS.items() if "feed" in cell.needs]
    server = SERVERS["fastws-feed"]
    with running(server, None) as served:
        for name, options in few.items():
            cell = CELLS[name]
            short = replace(cell, options=(*cell.options, *options.split()), seconds=0.4, turns=1)
            with LoadDriver(None)(short, server, served) as clients:
                clients.turn()
                got = clients.outcome()
            assert got.failure is None, (name, got)
            assert {metric.name for metric in cell.metrics} <= set(got.metrics)
