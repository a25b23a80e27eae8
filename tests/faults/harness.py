"""What all rows share: a server in a process of its own, herds of clients, and the record of figures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.cli.helpers import environment
from tests.faults.herd import Plan
from tests.kit.process import MIB, open_files, rss
from tests.live.raw import Peer
from tests.live.servers import child_environment, make_certificates

__all__ = [
    "MIB",
    "Check",
    "Herd",
    "Missing",
    "Plan",
    "ROWS",
    "Record",
    "Row",
    "Site",
    "certificates",
    "eventually",
]
__all__ += ["bench", "herd", "load_of_machine", "result_of", "row", "server"]

#: How many times its bound a figure may have in the short form, by its unit.
SHORT_FORM = {"ms": 10, "% of a core": 2}


class Missing(Exception):
    """A tool that the row needs is not installed; the text says which."""


@dataclass(frozen=True)
class Check:
    """One bound, what was measured, and whether it held."""

    what: str
    measured: str
    bound: str
    held: bool


@dataclass
class Record:
    """What a row found. ``full``: as the row says; otherwise in seconds, with fewer of everything."""

    full: bool
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def at_most(self, what: str, value: float, bound: float, unit: str = "") -> None:
        """In the short form other tests may run beside it, on any machine: times have more room."""
        if not self.full:
            bound *= SHORT_FORM.get(unit, 1)
        self._add(what, f"{_text(value)} {unit}".strip(), f"≤ {_text(bound)} {unit}".strip(), value <= bound)

    def at_least(self, what: str, value: float, bound: float, unit: str = "") -> None:
        self._add(what, f"{_text(value)} {unit}".strip(), f"≥ {_text(bound)} {unit}".strip(), value >= bound)

    def equal(self, what: str, value: object, wanted: object) -> None:
        self._add(what, str(value), f"= {wanted}", value == wanted)

    def _add(self, what: str, measured: str, bound: str, held: bool) -> None:
        self.checks.append(Check(what, measured, bound, held))
        print(f"  {'ok    ' if held else 'BROKEN'} {what}: {measured} ({bound})", flush=True)

    def note(self, text: str) -> None:
        """A figure without a bound, or what was made smaller than the row says."""
        self.notes.append(text)
        print(f"         {text}", flush=True)

    def choose(self, full: Any, short: Any) -> Any:
        return full if self.full else short

    @property
    def held(self) -> bool:
        return bool(self.checks) and all(each.held for each in self.checks)


def _text(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    run: Callable[[Record], None]


ROWS: dict[str, Row] = {}


def row(name: str, title: str) -> Callable[[Callable[[Record], None]], Callable[[Record], None]]:
    """Register a function as the row of that name."""

    def register(run: Callable[[Record], None]) -> Callable[[Record], None]:
        ROWS[name] = Row(name, title, run)
        return run

    return register


# -- the server ---------------------------------------------------------------------------------


@dataclass
class Site:
    """A running server."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int = 0
    ca: str | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def counters(self) -> dict[str, Any]:
        """Of the rows' own application only."""
        with Peer(self.port) as peer:
            peer.send(b"GET /counters HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            found: dict[str, Any] = json.loads(peer.response()[1])
        return found

    def rss(self) -> int:
        return rss(self.pid)

    def files(self) -> int:
        return open_files(self.pid)

    def alive(self) -> bool:
        return self.process.poll() is None


APP = "tests.faults.app:routes"
_made: list[tempfile.TemporaryDirectory[str]] = []


def certificates() -> Path:
    """A folder with what ``fastws cert`` makes, the same for all rows."""
    if not _made:
        _made.append(tempfile.TemporaryDirectory())
        make_certificates(Path(_made[0].name))
    return Path(_made[0].name)


@contextmanager
def server(
    *options: str,
    app: str | None = APP,
    tls: bool = False,
    prefix: tuple[str, ...] = (),
    port: int = 0,
    stdout: int | None = None,
    clean: bool = True,
    env: Mapping[str, str] = MappingProxyType({}),
    output: str | None = None,
) -> Iterator[Site]:
    """Run ``PREFIX fastws serve APP OPTIONS``; with ``clean`` it must end as told, without a traceback.

    ``output``: a folder in mounts of its own where it writes its stdout and stderr itself.
    """
    args = [*prefix, sys.executable, "-m", "fastws", "serve", *([app] if app else []), "--port", str(port)]
    if tls:
        folder = certificates()
        args += ["--ssl-certfile", str(folder / "server.pem")]
        args += ["--ssl-keyfile", str(folder / "server-key.pem")]
    with tempfile.TemporaryDirectory() as name, child_environment(traced=False):
        folder = Path(name)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [*args, *options],
                stdout=out if stdout is None else stdout,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=environment(**env),
            )
        seen = folder if output is None else Path(f"/proc/{process.pid}/root{output}")
        site = Site(process, seen, ca=str(certificates() / "ca.pem") if tls else None)
        try:
            site.port = _port(site)
            yield site
            if clean and site.alive():
                errors = site.stderr()
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0, errors
            errors = site.stderr() if output is None else ""
            assert not clean or "Traceback" not in errors, errors[:4000]
        finally:
            if site.alive():
                process.kill()
            process.wait(10)


def _port(site: Site) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and site.alive():
        if not (site.folder / "stderr").exists():
            continue  # not there yet
        if found := re.search(r"Serving on \w+://[^ ]*:(\d+) ", site.stderr()):
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {site.stderr()}")


def eventually(true: Callable[[], bool], seconds: float) -> float:
    """Seconds until ``true()``; infinite when they are over before."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            return float("inf")
        time.sleep(0.02)
    return time.monotonic() - started


# -- those who load it --------------------------------------------------------------------------


class Herd:
    """A process of clients; see ``herd.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        #: What it said when all were open: ``opened``, ``refused``, ``seconds``.
        self.opening: dict[str, Any] = {}

    def wait_open(self) -> Herd:
        self.opening = self._answer()
        return self

    def tell(self, command: str) -> dict[str, Any]:
        """Send a command; return what the clients have seen since the last ``stats``."""
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def stats(self) -> dict[str, Any]:
        return self.tell("stats")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the herd has died"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def herd(
    site: Site, count: int, *, wait: bool = True, prefix: tuple[str, ...] = (), **plan: Any
) -> Iterator[Herd]:
    """Clients of ``site`` for as long as the block lasts; without ``wait`` they may still be opening.

    ``prefix`` runs them, in a network of their own for one.
    """
    whole = Plan(site.port, count, ca=site.ca, **plan)
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.faults.herd", whole.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        herd = Herd(process)
        yield herd.wait_open() if wait else herd
    finally:
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        process.kill()
        process.wait()


def bench(site: Site, *args: str, path: str = "/echo", seconds: float = 120) -> dict[str, Any]:
    """Run ``fastws bench`` against the server; return its result."""
    process = start_bench(site, *args, path=path)
    out, _ = process.communicate(timeout=seconds)
    assert out, "fastws bench said nothing"
    found: dict[str, Any] = json.loads(out)
    return found


def start_bench(site: Site, *args: str, path: str = "/echo") -> subprocess.Popen[str]:
    scheme = "wss" if site.ca else "ws"
    url = f"{scheme}://127.0.0.1:{site.port}{path}"
    secure = ["--insecure"] if site.ca else []
    command = [sys.executable, "-m", "fastws", "bench", url, *args, *secure, "--json", "-"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment())


def load_of_machine() -> str:
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def result_of(name: str, title: str, record: Record, began: datetime, started: float) -> dict[str, Any]:
    """What is kept of a row: figures, and when and where they were measured."""
    return {
        "row": name,
        "title": title,
        "full": record.full,
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "machine": load_of_machine(),
        "held": record.held,
        "checks": [asdict(check) for check in record.checks],
        "notes": record.notes,
    }
