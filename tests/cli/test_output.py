"""An output that cannot be written: a line about it and an exit code, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import PATIENCE, environment
from tests.publish.served import ALL, PageServer, page_served

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def served() -> Iterator[PageServer]:
    with page_served() as served:
        yield served


def run(*args: object, stdout: Any, stderr: Any = subprocess.PIPE, **env: str) -> tuple[int, str]:
    """Run ``fastws ARGS``; return the exit code, and what stderr has."""
    command = [sys.executable, "-m", "fastws", *map(str, args)]
    result = subprocess.run(
        command, stdout=stdout, stderr=stderr, env=environment(**env), text=True, timeout=PATIENCE
    )
    return result.returncode, result.stderr


def unread() -> int:
    """A pipe that nobody reads."""
    source, sink = os.pipe()
    os.close(source)
    return sink


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_says_that_its_output_cannot_be_written(tmp_path: Path, unbuffered: str) -> None:
    line = "fastws: the output cannot be written: No space left on device\n"
    commands: list[tuple[object, ...]] = [
        ("--version",),
        ("publish", "--help"),
        ("check",),
        ("cert", "--directory", tmp_path),
    ]
    with FULL.open("w") as full:
        for args in commands:
            assert run(*args, stdout=full, PYTHONUNBUFFERED=unbuffered) == (1, line), args
        assert run("--version", stdout=full, stderr=full)[0] == 1
        assert run("dance", stdout=full, stderr=full)[0] == 2


def test_a_pipe_that_nobody_reads_is_no_failure_to_tell() -> None:
    sink = unread()
    assert run("--version", stdout=sink) == (1, "")
    os.close(sink)


@pytest.mark.live
def test_a_message_is_published_though_its_position_cannot_be_written(
    served: PageServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(ALL)
    args = ("publish", "rooms/a", "x", "--url", served.url, "--token-file", tmp_path / "token")
    sink = unread()
    with FULL.open("w") as full:
        for number, (stdout, why) in enumerate(((full, "No space left on device"), (sink, "Broken pipe")), 1):
            code, said = run(*args, stdout=stdout)
            assert code == 0 and said.startswith("fastws publish: published at ")
            assert said.endswith(f":{number}, which cannot be written: {why}\n")
        assert run(*args, stdout=full, stderr=full)[0] == 0
    os.close(sink)
    assert len(served.do(served.hub.history("rooms/a"))) == 3
