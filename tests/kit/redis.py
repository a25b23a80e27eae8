"""A Redis of our own: a process on a free port, with a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.kit.ports import free_port

__all__ = ["Redis", "need_redis"]


def need_redis() -> None:
    """Skip where there is no redis-server; with FASTWS_REQUIRE_REDIS=1, as CI has it, fail."""
    if shutil.which("redis-server") is None:
        if os.environ.get("FASTWS_REQUIRE_REDIS") == "1":
            pytest.fail("FASTWS_REQUIRE_REDIS is set, but redis-server is not installed", pytrace=False)
        pytest.skip("redis-server is not installed")


class Redis:
    """One server.

    Args:
        folder: Where its data goes.
        options: As on its command line.
        port: Default: a free one.
        config: The configuration of a sentinel, which this shall be.
    """

    def __init__(
        self, folder: Path, *options: str, port: int | None = None, config: Path | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> Redis:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": ""}
        command = ["redis-server", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"]
        for name, value in settings.items():
            command += [f"--{name}", value]
        if self.config is not None:
            command = ["redis-server", str(self.config), "--sentinel", "--port", str(self.port)]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log)
        log.close()
        while not self._answers():
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        answer = self.cli("PING")
        return "PONG" in answer or "NOAUTH" in answer

    def cli(self, *arguments: str) -> str:
        """Return what redis-cli says."""
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip()

    def kick(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait for that."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Redis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
