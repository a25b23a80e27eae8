"""The micro-benchmarks run, and their baseline and the counts of instructions are compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bench.launch import ROOT
from bench.micro import instructions
from bench.micro.feed_paths import MOST
from bench.micro.instructions import Difference, NothingToCount, compare
from bench.micro.paths import PATHS
from bench.microbench import BASELINE, trimmed


def test_each_benchmark_runs_once() -> None:
    # In a process of its own: no coverage and no plugins of this run.
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "bench/micro",
        "-q",
        "--benchmark-disable",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_the_baseline_holds_no_single_timings_and_nothing_about_whose_machine_it_was() -> None:
    data = orjson.loads(BASELINE.read_bytes())
    assert set(data["machine_info"]) == {
        "machine",
        "python_implementation",
        "python_version",
        "release",
        "cpu",
    }
    assert data == trimmed(data) and data["benchmarks"]


def test_trimming_keeps_what_a_comparison_reads() -> None:
    kept = {
        "group": "g",
        "name": "n",
        "fullname": "f",
        "params": None,
        "param": None,
        "extra_info": {},
        "options": {},
    }
    stats = {"min": 1.23456789e-7, "rounds": 3, "ops": 8100000.5, "data": [1, 2, 3], "outliers": "0;1"}
    (got,) = trimmed({"benchmarks": [{**kept, "stats": stats, "other": 1}]})["benchmarks"]
    assert got == {**kept, "stats": {"min": 1.235e-7, "rounds": 3, "ops": 8100000.5, "outliers": "0;1"}}


@pytest.mark.parametrize(
    ("counted", "close"), [(1000, True), (1050, True), (950, True), (1051, False), (949, False)]
)
def test_five_percent_either_way(counted: int, close: bool) -> None:
    difference = Difference("scan", 1000, counted)
    assert difference.close is close and ("NOT within 5%" in str(difference)) is not close


def test_what_one_side_lacks_is_a_difference() -> None:
    new, gone = sorted(compare({"gone": 5}, {"new": 7}), key=lambda difference: difference.name, reverse=True)
    assert not new.close and "not recorded yet" in str(new)
    assert not gone.close and "but not counted" in str(gone)


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "instructions.json"
    monkeypatch.setattr(instructions, "key", lambda: "cpython-3.11-test")
    monkeypatch.setattr(instructions, "count", lambda: {"scan": 1000})
    return file


def test_recorded_figures_are_checked(figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    figures.write_text('{"cpython-9-other": {"scan": 1}}')
    instructions.record(said.append, figures)
    assert orjson.loads(figures.read_bytes()) == {
        "cpython-9-other": {"scan": 1},
        "cpython-3.11-test": {"scan": 1000},
    }
    assert instructions.check(said.append, figures)
    monkeypatch.setattr(instructions, "count", lambda: {"scan": 1100})
    assert not instructions.check(said.append, figures)
    assert said[-1] == "scan: 1,100 instructions, recorded 1,000 (+10.0 %): NOT within 5%"


def test_what_costs_too_much_beside_another_path_fails(
    figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, other), most = next(iter(MOST.items()))
    for times, held in ((most, True), (most + 0.01, False)):
        counted = {other: 10_000, name: int(10_000 * times)}
        monkeypatch.setattr(instructions, "count", lambda counted=counted: counted)
        said: list[str] = []
        instructions.record(said.append, figures)
        assert instructions.check(said.append, figures) is held
        told = f"{name}: {times:.3f} times {other} (at most {most})"
        assert said[-1] == told + ("" if held else f": NOT at most {most}")


def test_each_path_that_is_compared_is_counted() -> None:
    assert {name for pair in MOST for name in pair} <= set(PATHS)


def test_without_figures_or_valgrind_the_check_is_skipped_in_words(
    figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> dict[str, int]:
        raise NothingToCount("valgrind is not installed")

    said: list[str] = []
    assert instructions.check(said.append, figures)
    assert said == ["SKIPPED: no instruction counts are recorded for cpython-3.11-test"]
    instructions.record(said.append, figures)
    monkeypatch.setattr(instructions, "count", absent)
    assert instructions.check(said.append, figures)
    assert said[-1] == "SKIPPED: valgrind is not installed; instruction counts are not checked"


def test_valgrind_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    with pytest.raises(NothingToCount, match="valgrind is not installed"):
        instructions.count()


def test_the_c_engine_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("bench.micro.instructions.engines", dict)
    with pytest.raises(NothingToCount, match="the C engine is not built"):
        instructions.count()


def test_the_compiled_hot_path_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("bench.micro.instructions.engines", lambda: {"c": None})
    monkeypatch.setattr("bench.micro.instructions._is_compiled", lambda: False)
    with pytest.raises(NothingToCount, match="the hot path is not compiled"):
        instructions.count()


def test_a_call_is_what_the_name_says_and_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(valgrind: str, module: str, classes: str = "") -> dict[str, int]:
        if module == "bench.micro.frame_path":
            return {"scan": 300_000}
        least = 1000 if classes == "100" else 1020
        return {name: least * rounds * each for name, (rounds, each, _) in PATHS.items()}

    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("bench.micro.instructions.engines", lambda: {"c": None})
    monkeypatch.setattr("bench.micro.instructions._is_compiled", lambda: True)
    monkeypatch.setattr("bench.micro.instructions._run", run)
    assert instructions.count() == dict.fromkeys(["scan", *PATHS], 1000)


@pytest.mark.live
def test_each_path_is_gone_to_its_end() -> None:
    # With its own limits and clock, so in a process of its own.
    argv = [sys.executable, "-W", "error", "-m", "bench.micro.paths"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines() == list(PATHS)
