"""Starting a server on its core and ending it again."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.rivals import Server

__all__ = ["ROOT", "Running", "StartError", "on_core", "running"]

ROOT = Path(__file__).parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class StartError(Exception):
    """The server did not come up; the text ends with its last line."""


@dataclass(slots=True)
class Running:
    """A server that accepts connections."""

    process: subprocess.Popen[bytes]
    port: int
    log: IO[bytes]

    def last_words(self) -> str:
        """The last line the server wrote, or how it ended."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self.process.poll()}"


def environment() -> dict[str, str]:
    """Ours, with this checkout importable for a script that does not lie in it."""
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}


def on_core(core: int | None) -> Callable[[], None]:
    """A ``preexec_fn``: this core alone, and as many descriptors as the limit allows."""

    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return prepare


@contextmanager
def running(server: Server, core: int | None, tls: tuple[str, str] | None = None) -> Iterator[Running]:
    """A fresh process of ``server`` on a free port. Raises StartError, or NotInstalled from its build."""
    port = free_port()
    argv = server.argv(port, tls)
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                argv, cwd=ROOT, env={**environment(), **server.env}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, preexec_fn=on_core(core),
            )  # fmt: skip
        except OSError as error:
            raise StartError(f"cannot start: {error}") from None
        try:
            server_running = Running(process, port, log)
            _wait(server_running)
            yield server_running
        finally:
            _stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Running) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StartError(f"ended at its start: {server.last_words()}")
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise StartError(f"accepts no connection after {START_SECONDS:.0f} s: {server.last_words()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
