"""The seam to ``fastws bench``: its command line, its JSON, and the real thing once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from bench.cells import CELLS
from bench.certificate import make_certificate
from bench.driver import LoadDriver, arguments, read_report
from bench.launch import Running, running
from bench.rivals import catalogue

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
    assert " ".join(words[2:]) == "--clients 16 --size 20 --depth 16 --pid 77 --warmup 0.4 --duration 2.0"


def test_the_command_line_of_a_room_that_merges(pretended: Running) -> None:
    words = arguments(CELLS["room-100"], SERVERS["gorilla-merge"], pretended)
    assert words[:2] == ["ws://127.0.0.1:5/ws", "room"] and words[-2:] == ["--merged-by", "\n"]


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


FAKE = """
import json, sys
args = sys.argv[1:]
if args[0].endswith("/wsecho"):
    sys.exit("fastws bench: no client could open")
with open(args[args.index("--json") + 1], "w") as file:
    file.write(%r)
"""


@pytest.fixture
def fake() -> LoadDriver:
    return LoadDriver(None, (sys.executable, "-c", FAKE % orjson.dumps(REPORT).decode()))


def test_the_driver_reads_what_the_generator_wrote(fake: LoadDriver, pretended: Running) -> None:
    assert fake(CELLS["fanout-16"], SERVERS["ws"], pretended).metrics["rate"] == 1000


def test_a_generator_that_reports_nothing_fails_with_its_last_line(
    fake: LoadDriver, pretended: Running
) -> None:
    got = fake(CELLS["echo-16"], SERVERS["ws"], pretended)
    assert got.failure == "fastws bench: no client could open" and not got.metrics


def test_a_generator_that_does_not_end(pretended: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.driver.PATIENCE", -1.9)
    endless = LoadDriver(None, (sys.executable, "-c", "import time; time.sleep(60)"))
    assert endless(CELLS["echo-16"], SERVERS["ws"], pretended).failure == "the generator did not end in time"


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
    "name", [name for name, cell in CELLS.items() if cell.scenario not in ("import", "client")]
)
def test_every_cell_is_understood_by_the_real_generator(name: str, ours: dict[bool, Running]) -> None:
    cell, server = CELLS[name], ours[CELLS[name].tls]
    words = [
        *arguments(cell, SERVERS["fastws"], server),
        "--clients",
        "3",
        "--warmup",
        "0",
        "--duration",
        "200ms",
    ]
    words = [word.replace("1048576", "65536") for word in words]
    argv = [sys.executable, "-m", "fastws", "bench", *words, "--json", "-"]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = read_report(orjson.loads(done.stdout), cell)
    assert got.failure is None and {metric.name for metric in cell.metrics} <= set(got.metrics)
