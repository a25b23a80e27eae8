"""The README's code runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVERS_AND_CLIENT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

pytestmark = pytest.mark.live


def start(code: str, port: int) -> subprocess.Popen[str]:
    code = code.replace("8765", str(port))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_there_are_two_servers_and_a_client() -> None:
    assert len(SERVERS_AND_CLIENT) == 3


@pytest.mark.parametrize("example", [0, 1], ids=["coroutine", "callbacks"])
def test_the_client_of_the_readme_talks_to_its_servers(example: int, unused_tcp_port: int) -> None:
    server = start(SERVERS_AND_CLIENT[example], unused_tcp_port)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            client = start(SERVERS_AND_CLIENT[2], unused_tcp_port)
            out, err = client.communicate(timeout=PATIENCE)
            if client.returncode == 0 or time.monotonic() > deadline:
                break
        assert (out, client.returncode) == ("Hello Server!\n", 0), err
    finally:
        server.kill()
        server.communicate()


def test_the_examples_are_short() -> None:
    for code in SERVERS_AND_CLIENT:
        lines = [line for line in code.splitlines() if line.strip() and not line.startswith("import")]
        assert len(lines) <= 12


def test_every_page_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_test_command_is_where_ci_looks_for_it() -> None:
    after = README.split("<!-- tests -->\n```\n")[1]
    assert re.match(r"python3 -m venv \.venv && .* && \.venv/bin/python -m pytest\n", after)
