"""The application of ``apps.py`` under three servers, each in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cli.helpers import ROOT, environment

__all__ = ["SERVERS", "Site", "running"]

APP = "tests.asgi.apps:app"
UVICORN = [sys.executable, "-m", "uvicorn", APP, "--port", "0", "--app-dir", str(ROOT), "--root-path", ""]
PLUGIN = ["--ws", "fastws.uvicorn:FastWSProtocol"]
SERVERS = {
    "fastws": [sys.executable, "-m", "fastws", "serve", APP, "--port", "0", "--app-dir", str(ROOT)],
    "plug-in": [*UVICORN, *PLUGIN],
    "plug-in-asyncio": [*UVICORN, *PLUGIN, "--loop", "asyncio", "--http", "h11"],
    "uvicorn": UVICORN,
}


@dataclass
class Site:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    address: str = ""

    @property
    def ours(self) -> bool:
        """Whether WebSockets are ours."""
        return self.name != "uvicorn"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def ws(self, path: str) -> str:
        return f"ws://{self.address}{path}"

    def text(self) -> str:
        return self.log.read_text()


@contextlib.contextmanager
def running(name: str, folder: Path, *more: str) -> Iterator[Site]:
    """Start a server; it is ended by SIGTERM, and killed if that takes longer than 15 s."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*SERVERS[name], *more],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(),
        )
    site = Site(name, process, log)
    try:
        _wait(site)
        yield site
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(site: Site) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and site.process.poll() is None:
        for line in site.text().splitlines():
            if "unning on http://" in line or line.startswith("Serving on http://"):
                site.address = line.split("http://")[1].split()[0]
                return
        time.sleep(0.02)
    raise AssertionError(f"{site.name} did not start: {site.text()}")
