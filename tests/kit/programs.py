"""Servers of other projects that a test starts: processes of our own, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from tests.kit.ports import free_port

__all__ = ["Program", "need"]


def need(program: str, variable: str) -> None:
    """Skip where ``program`` is not installed; where ``variable`` is 1, as CI has it, fail."""
    if shutil.which(program) is None:
        if os.environ.get(variable) == "1":
            pytest.fail(f"{variable} is set, but {program} is not installed", pytrace=False)
        pytest.skip(f"{program} is not installed")


class Program:
    """One server.

    Args:
        folder: Where its log and its data go.
        port: Default: a free one. It keeps it over restarts.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return its command line."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        while not self.is_up():
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)
        return self

    def kick(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait for that."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
