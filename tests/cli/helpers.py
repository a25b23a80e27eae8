"""Runs the ``fastws`` command as a person's shell would: a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["PATIENCE", "Child", "Result", "assert_one_line", "environment", "fastws", "get", "running"]

ROOT = Path(__file__).parents[2]
#: Which build is tested, in the children too.
BUILD = ("FASTWS_COMPILED", "FASTWS_ENGINE")
Result = subprocess.CompletedProcess[str]
#: Seconds for what must come: less than a test has, so that the failure shows what the command said.
PATIENCE = 50


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child: ours without the options that somebody may have set in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FASTWS_") or k in BUILD}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **extra}


def fastws(*args: object, cwd: Path | None = None, stdin: str = "", **env: str) -> Result:
    """Run ``fastws ARGS`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fastws", *map(str, args)],
        capture_output=True,
        cwd=cwd,
        env=environment(**env),
        input=stdin,
        text=True,
        timeout=PATIENCE,
    )


def assert_one_line(result: Result, code: int, text: str) -> None:
    """What a mistake gives: this exit code, and one line with ``text`` on stderr."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("fastws ") and result.stderr.count("\n") == 1, result.stderr
    assert text in result.stderr


def get(
    address: str, path: str = "/healthz", cafile: Path | None = None
) -> tuple[int, dict[str, str], bytes]:
    """GET by the standard library's client."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    client: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=cafile)
        client = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=5, context=context)
    else:
        client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        client.close()


class Child:
    """A command that goes on running; its output is collected in files, so that no pipe fills up."""

    def __init__(
        self,
        args: tuple[object, ...],
        folder: Path,
        env: dict[str, str],
        *,
        stdin: int | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.out, self.err = folder / "stdout", folder / "stderr"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastws", *map(str, args)],
                stdin=stdin if stdin is not None else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment(**env),
                pass_fds=pass_fds,
            )

    def stderr(self) -> str:
        return self.err.read_text()

    def stdout(self) -> str:
        return self.out.read_text()

    def line(self, start: str) -> str:
        """The first whole line of stderr or stdout that begins with ``start``, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE
        has_ended = False
        while not has_ended and time.monotonic() < deadline:
            has_ended = self.process.poll() is not None  # before its last words are read
            for said in (self.stderr(), self.stdout()):
                for line in said.splitlines(keepends=True):
                    if line.startswith(start) and line.endswith("\n"):
                        return line[:-1]
            time.sleep(0.01)
        raise AssertionError(f"no line {start!r}; stderr: {self.stderr()!r}, stdout: {self.stdout()!r}")

    def address(self) -> str:
        """The address that the start line says to open."""
        return self.line("Serving on ").split()[2]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(
    folder: Path, *args: object, stdin: int | None = None, pass_fds: tuple[int, ...] = (), **env: str
) -> Iterator[Child]:
    """Run ``fastws ARGS`` in ``folder``; it is killed at the end if it still runs."""
    child = Child(args, folder, env, stdin=stdin, pass_fds=pass_fds)
    try:
        yield child
    finally:
        if child.process.poll() is None:
            child.process.kill()
        child.process.wait(10)
