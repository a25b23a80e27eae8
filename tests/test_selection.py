"""Which tests a run has: what the command line says decides, and what is left out is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.selection import SYSTEM_COMMAND, SYSTEM_FOLDERS, TESTS

ROOT = TESTS.parent
CONFTEST = 'pytest_plugins = ["tests.selection"]\n'
LOCAL = "def test_local(): pass\n"
SYSTEM = "def test_system(): pass\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with the folders of this one; its selection takes the folder for tests/."""
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\ntestpaths = tests\npythonpath = {ROOT}\nmarkers =\n  system: x\n  measures: x\n"
    )
    tests = tmp_path / "tests"
    for folder, text in (("protocol", LOCAL), ("live", SYSTEM)):
        (tests / folder).mkdir(parents=True)
        (tests / folder / f"test_{folder}.py").write_text(text)
    (tests / "conftest.py").write_text(
        f"import pathlib\nimport tests.selection\n"
        f"tests.selection.TESTS = pathlib.Path({str(tests)!r})\n{CONFTEST}"
    )
    return tmp_path


def ran(suite: Path, *arguments: str) -> str:
    done = run(suite, "-v", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(suite: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Not with the options of the run that this test is a part of, and without the plugins that it has.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("arguments", [[], ["tests"], ["-n0"], ["-k", "test"], ["-n2"]], ids=str)
def test_system_tests_are_left_out_and_the_summary_says_so(suite: Path, arguments: list[str]) -> None:
    out = ran(suite, *arguments)
    assert "::test_local" in out and "::test_system" not in out
    assert f"1 were left out; to run them: {SYSTEM_COMMAND}\n" in out


@pytest.mark.parametrize(
    ("arguments", "local"),
    [
        (["-m", "system"], False),
        (["-m", "not measures"], True),
        (["tests/live"], False),
        (["tests/live/test_live.py::test_system"], False),
        (["tests/live", "tests/protocol"], True),
    ],
    ids=str,
)
def test_system_tests_run_when_a_mark_or_a_path_asks_for_them(
    suite: Path, arguments: list[str], local: bool
) -> None:
    out = ran(suite, *arguments)
    assert "::test_system" in out and ("::test_local" in out) is local
    assert "left out" not in out


def test_the_whole_runs_on_all_cores_and_a_choice_in_one_process(suite: Path) -> None:
    assert "workers" in ran(suite)
    for choice in (["tests/protocol"], ["-m", "system"], ["-k", "local"], ["-s"], ["-n0"]):
        assert "workers" not in ran(suite, *choice)


def test_a_test_that_measures_is_alone(suite: Path) -> None:
    """Four that measure and eight others in two processes: nobody else is between begin and end."""
    text = """
import os, pathlib, time, pytest
LOG = pathlib.Path(__file__).with_name("log")

def note(what):
    with LOG.open("a") as file:
        file.write(f"{what} {os.getpid()}\\n")

@pytest.mark.parametrize("number", range(8))
def test_other(number):
    note("other")
    time.sleep(0.02)
    note("other")

@pytest.mark.measures
@pytest.mark.parametrize("number", range(4))
def test_measuring(number):
    note("begin")
    time.sleep(0.05)
    note("end")
"""
    (suite / "tests/protocol/test_measuring.py").write_text(text)
    ran(suite, "-n2")
    notes = [line.split() for line in (suite / "tests/protocol/log").read_text().splitlines()]
    begun = [place for place, (what, _) in enumerate(notes) if what == "begin"]
    assert len(notes) == 24 and len(begun) == 4
    assert all(notes[place + 1] == ["end", notes[place][1]] for place in begun)


def test_a_test_that_measures_beside_others_fails(suite: Path) -> None:
    text = "from tests.effort import within_cpu\ndef test_it():\n    within_cpu(1, int)\n"
    (suite / "tests/protocol/test_measuring.py").write_text(text)
    done = run(suite, "-n2")
    assert done.returncode == 1 and "mark it with @pytest.mark.measures" in done.stdout


def test_every_system_folder_is_there() -> None:
    assert all((TESTS / name).is_dir() for name in SYSTEM_FOLDERS)
