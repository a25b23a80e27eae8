"""The clients as a process of their own, and how what it reports becomes figures.

It is the generator (``fastws bench --turns``) or a library's own client (``clients/NAME_client.py``). Both
say ``ready`` on their standard output when they are connected and warm, measure one turn for each line that
they are given, and report when there are no more lines.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.cells import ECHO_PATH, FEED_PATH, PATIENCE, WARMUP
from bench.launch import ROOT, Running, environment, on_core
from bench.model import Cell
from bench.rivals import CLIENTS, Server
from bench.schedule import Outcome

__all__ = ["Clients", "LoadDriver", "read_report"]

#: Scenarios that are one run: they know no turns.
IN_ONE_RUN = ("keyed", "resume")
GENERATOR = (sys.executable, "-m", "fastws", "bench")


@dataclass(frozen=True, slots=True)
class LoadDriver:
    """Starts the clients on their core. ``command`` is replaced by a small fake in tests."""

    core: int | None
    command: tuple[str, ...] | None = None

    @contextmanager
    def __call__(self, cell: Cell, server: Server, running: Running) -> Iterator[Clients]:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            if cell.scenario == "client":
                command, words = self.command or _client(server.name), client_arguments(cell, running)
            else:
                command, words = self.command or GENERATOR, arguments(cell, server, running)
            process = subprocess.Popen(
                [*command, *words, *times(cell), "--json", str(report)], cwd=ROOT, env=environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=on_core(self.core),
            )  # fmt: skip
            try:
                patience = PATIENCE + _seconds(cell)
                read = lambda: read_report(orjson.loads(report.read_bytes()), cell)  # noqa: E731
                yield Clients(process, patience, read, in_turns=cell.scenario not in IN_ONE_RUN)
            finally:
                process.kill()
                process.communicate()


class Clients:
    """One such process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        patience: float,
        read: Callable[[], Outcome],
        *,
        in_turns: bool = True,
    ) -> None:
        self.process = process
        #: Seconds until it has to be ready, again too, or to have ended.
        self._patience = patience
        self._read = read
        self._late = False
        self._ready = in_turns and self._await_ready()

    def turn(self) -> None:
        """Returns when the turn is over; at once where the process has ended or was too late once."""
        if self._ready:
            assert self.process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended since, which shows where it is waited for
                os.write(self.process.stdin.fileno(), b"\n")
            self._ready = self._await_ready()

    def _await_ready(self) -> bool:
        assert self.process.stdout is not None
        deadline, said = time.monotonic() + self._patience, b""
        while not said.endswith(b"ready\n"):
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                self._late = True
                return False
            if not (chunk := os.read(self.process.stdout.fileno(), 4096)):
                return False
            said += chunk
        return True

    def outcome(self) -> Outcome:
        """What it reports; where it reports nothing, its last line on stderr is the failure."""
        try:
            _, errors = self.process.communicate(timeout=0.0 if self._late else self._patience)
        except subprocess.TimeoutExpired:
            return Outcome({}, "the clients did not end in time")
        try:
            return self._read()
        except FileNotFoundError:
            lines = errors.decode(errors="replace").strip().splitlines()
            return Outcome({}, lines[-1] if lines else f"the clients ended with {self.process.returncode}")


def _client(name: str) -> tuple[str, ...]:
    return sys.executable, str(CLIENTS / f"{name.replace('-', '_')}_client.py")


def client_arguments(cell: Cell, running: Running) -> list[str]:
    """URL and options of one cell for a library's own client."""
    return [f"ws://127.0.0.1:{running.port}{ECHO_PATH}", *cell.options]


def arguments(cell: Cell, server: Server, running: Running) -> list[str]:
    """URL, scenario and options of one cell against one server."""
    path = ECHO_PATH if "echo" in cell.needs else server.broadcast
    if cell.needs == {"feed"}:
        path = FEED_PATH
    url = f"{'wss' if cell.tls else 'ws'}://127.0.0.1:{running.port}{path}"
    words = [url, cell.scenario, *cell.options]
    if cell.scenario not in IN_ONE_RUN:
        words.append("--turns")
    words += ["--pid", str(running.process.pid)]
    if cell.tls:
        words.append("--insecure")
    if server.merged_by is not None and "broadcast" in cell.needs:
        words += ["--merged-by", server.merged_by]
    return words


def times(cell: Cell) -> list[str]:
    """Of the warm-up, and of one turn."""
    if cell.scenario in IN_ONE_RUN:
        return []
    return ["--warmup", str(WARMUP), "--duration", f"{_seconds(cell):g}"]


def _seconds(cell: Cell) -> float:
    assert cell.seconds is not None
    return cell.seconds / cell.turns


def read_report(report: dict[str, Any], cell: Cell) -> Outcome:
    """The figures of a cell out of the clients' JSON.

    A run in which a client was lost, refused or did not hear everything has no figures that count.
    """
    if cell.scenario == "client":
        return Outcome(report)
    if cell.scenario in IN_ONE_RUN:
        return _read_one_run(report)
    server, latency = report.get("server") or {}, report.get("latency") or {}
    found = {"rate": report["rate"], "cpu_us": server.get("cpu_us"), "rss_kb": server.get("rss_kb")}
    found |= {f"{name}_ms": latency.get(name) for name in ("p50", "p99")}
    metrics = {name: float(value) for name, value in found.items() if value is not None}
    if report["ok"] and report["reach"] == 1 and cell.metric.name in metrics:
        return Outcome(metrics, None, _remarks(report))
    return Outcome({}, "; ".join(_reasons(report)) or "no figures")


def _read_one_run(report: dict[str, Any]) -> Outcome:
    """The figures of a keyed topic, or of clients that came back."""
    if not report["ok"]:
        return Outcome({}, "; ".join(report["errors"]) or "not every client has what it should have")
    if report["scenario"] == "keyed":
        metrics = {"cpu_us": 1e6 * report["cpu"] / report["kept_up"], "p99_ms": report["staleness"]["p99"]}
        if report["fresh"]:
            metrics["fresh_p99_ms"] = report["fresh"]["p99"]
        return Outcome(metrics, None, ("generator saturated",) if report["saturated"] else ())
    metrics = {"cpu_us": 1e6 * report["cpu"] / report["returned"], "p99_ms": report["live"]["p99"]}
    metrics["stayed_p99_ms"] = report["meanwhile"]["p99"]
    return Outcome(metrics)


def _remarks(report: dict[str, Any]) -> tuple[str, ...]:
    """In few words, and the same in every round."""
    if report["saturated"]:
        return ("generator saturated",)
    waited = any(remark.startswith("the generator waited") for remark in report["remarks"])
    return ("the generator had to wait for its core",) if waited else ()


def _reasons(report: dict[str, Any]) -> list[str]:
    reasons = []
    if report["failed"]:
        reasons.append(f"{report['failed']:,} clients could not open")
    if report["lost"]:
        reasons.append(f"{report['lost']:,} of {report['opened']:,} clients were lost")
    reasons += [error["text"] for error in report["errors"]]
    if report["reach"] is not None and report["reach"] < 1:
        reasons.append(f"{1 - report['reach']:.1%} of the messages were not heard")
    return reasons
