"""Runs the suite against one role, on one engine, over TCP or TLS, and reads its verdicts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.autobahn.environment import ROOT, wstest
from tests.kit.ports import free_port

__all__ = ["ACCEPTABLE", "ALL", "CASES", "FAST", "Report", "Run", "is_acceptable", "read", "run"]

ALL = ("*",)
#: How many they are.
CASES = 517
#: Every group but those that need minutes, and samples of these.
FAST = (
    *(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)),
    *("9.1.4", "9.2.4", "9.3.1", "9.4.4", "9.5.6", "9.6.6", "9.7.3", "9.8.3"),
    *("12.1.1", "12.1.10", "12.2.5", "12.3.8", "12.4.4", "12.5.12"),
    *(f"13.{group}.{case}" for group in range(1, 8) for case in (1, 7)),
)
#: What the suite calls acceptable. Everything else is a failure.
ACCEPTABLE = ("OK", "NON-STRICT", "INFORMATIONAL")
#: Seconds for a whole run.
PATIENCE = 3600.0


def is_acceptable(verdicts: Iterable[str]) -> bool:
    """Whether a case passes: in how the testee behaved, and in how it closed."""
    return all(verdict in ACCEPTABLE for verdict in verdicts)


@dataclass(frozen=True, slots=True)
class Run:
    """Which of the suite's runs: the role that fastws plays, its engine, and what is below it."""

    role: str
    engine: str = "c"
    tls: bool = False
    cases: tuple[str, ...] = FAST

    @property
    def name(self) -> str:
        return f"{self.role}-{self.engine}-{'wss' if self.tls else 'ws'}"


@dataclass(frozen=True, slots=True)
class Report:
    """Verdicts by case: how fastws behaved, and how it closed."""

    run: Run
    behaviour: dict[str, str]
    closing: dict[str, str]
    seconds: float
    #: Cases that the suite broke off, after half a second of most of them.
    late: frozenset[str] = frozenset()

    def verdicts(self) -> dict[str, tuple[str, str]]:
        """Both of each case."""
        return {case: (verdict, self.closing[case]) for case, verdict in self.behaviour.items()}

    def failures(self) -> dict[str, tuple[str, str]]:
        """Cases that are not acceptable in both respects."""
        return {case: both for case, both in self.verdicts().items() if not is_acceptable(both)}

    def cases(self, verdict: str) -> list[str]:
        """Cases with that verdict in either respect."""
        return [case for case in self.behaviour if verdict in (self.behaviour[case], self.closing[case])]

    def summary(self) -> str:
        counts = Counter(self.behaviour.values())
        parts = [f"{counts[verdict]} {verdict}" for verdict in ACCEPTABLE]
        return (
            f"{self.run.name}: {len(self.behaviour)} cases, {', '.join(parts)}, "
            f"{len(self.failures())} failed, {self.seconds:.0f} s"
        )


def run(what: Run, certificates: Path, folder: Path) -> Report:
    """Run the suite; ``folder`` gets its reports. Raises :class:`environment.Missing`."""
    command = wstest()
    folder = (folder / what.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if what.role == "server":
        _against_server(command, what, certificates, folder)
    else:
        _against_client(command, what, certificates, folder)
    return read(what, folder / "reports" / "index.json", time.monotonic() - began)


def _against_server(command: Path, what: Run, certificates: Path, folder: Path) -> None:
    with _testee(what, folder, "server", *_only_tls(what, certificates)) as server:
        assert server.stdout is not None
        port, engine = server.stdout.readline().split()
        assert engine == what.engine, engine
        target = {"agent": "fastws", "url": f"{_scheme(what)}://127.0.0.1:{port}"}
        _specify(folder, "fuzzingclient", what, servers=[target])
        with _suite(command, folder, "fuzzingclient") as suite:
            if suite.wait(PATIENCE):
                raise AssertionError(f"the suite failed: {(folder / 'suite.log').read_text()[-2000:]}")
        assert server.poll() is None, "the echo server has ended"


def _against_client(command: Path, what: Run, certificates: Path, folder: Path) -> None:
    port = free_port()
    url = f"{_scheme(what)}://127.0.0.1:{port}"
    # This mode takes its key from here and ignores -k and -c.
    pair = {"key": str(certificates / "server-key.pem"), "cert": str(certificates / "server.pem")}
    _specify(folder, "fuzzingserver", what, url=url, **(pair if what.tls else {}))
    with _suite(command, folder, "fuzzingserver", "-u", "0") as suite:
        _await_port(port, suite)
        with _testee(what, folder, "client", url, *_only_tls(what, certificates)) as client:
            if client.wait(PATIENCE):
                raise AssertionError(f"the client failed: {(folder / 'testee.log').read_text()[-2000:]}")


def _scheme(what: Run) -> str:
    return "wss" if what.tls else "ws"


def _only_tls(what: Run, certificates: Path) -> list[str]:
    return [str(certificates)] if what.tls else []


def _specify(folder: Path, mode: str, what: Run, **target: Any) -> None:
    spec = {
        "outdir": str(folder / "reports"),
        "cases": list(what.cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
        **target,
    }
    (folder / f"{mode}.json").write_text(json.dumps(spec, indent=2))


@contextlib.contextmanager
def _running(
    command: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a process in the background of the machine; end it if it has not ended by itself."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            ["nice", "-n", "10", *command],
            stdout=subprocess.PIPE if "testee" in log.name else errors,
            stderr=errors,
            text=True,
            env=env,
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _testee(what: Run, folder: Path, *args: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "FASTWS_ENGINE": what.engine}
    return _running([sys.executable, "-m", "tests.autobahn.testee", *args], folder / "testee.log", env)


def _suite(
    command: Path, folder: Path, mode: str, *options: str
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    spec = str(folder / f"{mode}.json")
    return _running([str(command), "-m", mode, "-s", spec, *options], folder / "suite.log", env)


def _await_port(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the suite has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the suite does not listen")


def read(what: Run, index: Path, seconds: float) -> Report:
    """What the suite wrote into its ``index.json``."""
    verdicts = json.loads(index.read_text())["fastws"]
    late = frozenset(case for case in verdicts if _is_late(index.parent / verdicts[case]["reportfile"]))
    # By number, not as text.
    order = sorted(verdicts, key=lambda case: [int(part) for part in case.split(".")])
    return Report(
        what,
        {case: verdicts[case]["behavior"] for case in order},
        {case: verdicts[case]["behaviorClose"] for case in order},
        seconds,
        late,
    )


#: What the suite says when it has waited in vain for a step of the handshake or of the close.
TIMEOUTS = ("wasOpenHandshakeTimeout", "wasCloseHandshakeTimeout", "wasServerConnectionDropTimeout")


def _is_late(report: Path) -> bool:
    """Whether the suite gave up: it says so, or fails the connection itself, with 1001."""
    told = json.loads(report.read_text())
    broke_off = told.get("failedByMe") and told.get("localCloseCode") == 1001
    return bool(broke_off or any(told.get(name) for name in TIMEOUTS))
