"""A test that hangs in C, where no signal is handled, ends the run and says where it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: A loop in C that looks at no signal.
HANGS = """
import itertools
import pytest

def test_before():
    assert True

@pytest.mark.timeout({limit})
def test_that_hangs():
    sum(itertools.repeat({times}))
"""
CONFTEST = """
from tests import watchdog

watchdog.GRACE = 0.5

def pytest_configure(config):
    watchdog.install(config)
"""


def run(folder: Path, limit: float, times: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_hang.py").write_text(HANGS.format(limit=limit, times=times))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(folder)]
    return subprocess.run(
        [*command, "--rootdir", str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        timeout=50,
    )


def test_a_hang_in_c_ends_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, limit=0.5, times="0")
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr
    assert "test_that_hangs" in done.stderr


def test_a_test_without_a_limit_is_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path, limit=0, times="0, 50_000_000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
