"""A NATS server of our own: a process on a free port, with a store of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.kit.ports import free_port

__all__ = ["Nats", "need_nats"]


def need_nats() -> None:
    """Skip where there is no nats-server; with FASTWS_REQUIRE_NATS=1, as CI has it, fail."""
    if shutil.which("nats-server") is None:
        if os.environ.get("FASTWS_REQUIRE_NATS") == "1":
            pytest.fail("FASTWS_REQUIRE_NATS is set, but nats-server is not installed", pytrace=False)
        pytest.skip("nats-server is not installed")


class Nats:
    """One server. It keeps its port and its store over restarts.

    Args:
        folder: Where its store and its log go.
        options: As on its command line.
        streams: Whether it has JetStream.
    """

    def __init__(self, folder: Path, *options: str, streams: bool = True) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.options = (*options, *(("-js", "-sd", str(self.store)) if streams else ()))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Nats:
        """Start it, and wait until it listens."""
        self.folder.mkdir(exist_ok=True)
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        while not self._listens():
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.01)
        return self

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

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

    def lose(self) -> None:
        """Delete what it keeps; it has been stopped."""
        shutil.rmtree(self.store, ignore_errors=True)

    def __enter__(self) -> Nats:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
