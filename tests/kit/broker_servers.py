"""Real brokers: a ``nats-server`` or a ``redis-server`` of this test, on a free port, with a store of its own.

Where the program is missing the test is skipped; with ``FASTWS_REQUIRE_NATS=1`` and ``FASTWS_REQUIRE_REDIS=1``,
as CI has them, it fails.
"""

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

__all__ = ["SERVERS", "NatsServer", "RedisServer", "Server"]

#: Seconds until a server has to listen.
PATIENCE = 20.0


class Server:
    """One server. It keeps its port and its store over restarts."""

    program = ""
    scheme = ""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def require(cls) -> None:
        """Skip the test where there is no such program, or fail where it is required."""
        if shutil.which(cls.program) is None:
            variable = f"FASTWS_REQUIRE_{cls.scheme.upper()}"
            if os.environ.get(variable) == "1":
                pytest.fail(f"{variable} is set, but there is no {cls.program}", pytrace=False)
            pytest.skip(f"{cls.program} is not installed")

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*self.command(), *self._options], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.program} does not start: {self.log()[-2000:]}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for that."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(PATIENCE)

    def pause(self) -> None:
        """Let it stand still: its port takes connections, and nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def lose(self) -> None:
        """Delete what it keeps; it has been stopped."""
        shutil.rmtree(self.folder / "store", ignore_errors=True)


class NatsServer(Server):
    """With JetStream, unless ``streams`` is False."""

    program = "nats-server"
    scheme = "nats"

    def __init__(self, folder: Path, *options: str, streams: bool = True) -> None:
        super().__init__(folder, *options)
        self._streams = ("-js", "-sd", str(folder / "store")) if streams else ()

    def command(self) -> list[str]:
        return [self.program, "-a", "127.0.0.1", "-p", str(self.port), *self._streams]


class RedisServer(Server):
    """With an append-only file."""

    program = "redis-server"
    scheme = "redis"

    def command(self) -> list[str]:
        (self.folder / "store").mkdir(exist_ok=True)
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder / "store")]
        return [self.program, *where, "--save", "", "--appendonly", "yes", "--daemonize", "no"]


SERVERS: dict[str, type[Server]] = {"redis": RedisServer, "nats": NatsServer}
