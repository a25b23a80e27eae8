"""``fastws top`` in a real terminal, tmux's, beside a real server."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import environment, running
from tests.workers.helpers import until

pytestmark = [
    pytest.mark.live,
    pytest.mark.system,
    pytest.mark.foreign,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="Debian: tmux"),
]


class Terminal:
    """A window of tmux; ``line`` runs in its shell."""

    def __init__(self, folder: Path, line: str) -> None:
        self._folder = folder
        self.tmux("-f", os.devnull, "new-session", "-d", "-x", "120", "-y", "40", line)

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._folder / "tmux"), *words]
        # A size that the tests' own terminal has, or xdist makes up, is not that of this window.
        env = {k: v for k, v in environment(TERM="xterm").items() if k not in ("COLUMNS", "LINES")}
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, env=env, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def shows(self, text: str) -> None:
        """Wait until the window shows a text."""
        until(lambda: text in self.tmux("capture-pane", "-p"))

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    tmp_path.chmod(0o700)
    line = f"{sys.executable} -m fastws top control --interval 0.2; echo it ended with $?; read line"
    made: list[Terminal] = []

    def begin() -> Terminal:
        made.append(Terminal(tmp_path, line))
        return made[0]

    yield begin  # type: ignore[misc]
    for each in made:
        each.tmux("kill-server")


def test_a_person_looks(tmp_path: Path, terminal: Iterator[Terminal]) -> None:
    async def visit(address: str) -> None:
        url = address.replace("http", "ws")
        sockets = [await fastws.connect(f"{url}/{name}") for name in ("broadcast", "echo", "echo")]
        await asyncio.to_thread(look)
        closed = [ws for ws in sockets if ws.close_code is not None]
        assert [ws.close_code for ws in closed] == [1008]
        for ws in sockets:
            await ws.close()

    def look() -> None:
        nonlocal window
        window = terminal()  # type: ignore[operator]
        window.shows("3 WebSockets")
        window.keys("a")
        window.shows("clients by age")
        window.keys("/", "ech", "BSpace", "Enter")
        window.shows("with 'ec'")
        window.resize(50, 8)
        window.shows("fastws top")
        window.resize(110, 30)
        window.shows("clients by age, with 'ec'")
        window.keys("Down", "k")
        window.shows("2 WebSockets")

    window: Terminal
    options = ["--port", 0, "--control", "control", "--timeout-graceful-shutdown", 0]
    with running(tmp_path, "serve", *options) as server:
        asyncio.run(visit(server.address()))
        server.stop()
    window.shows("no server answers at control")
    with running(tmp_path, "serve", *options) as server:
        server.address()
        window.shows("0 WebSockets")
        window.keys("q")
        window.shows("it ended with 0")
        server.stop()
