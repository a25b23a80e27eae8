"""The generator: ``fastws bench`` as a process of its own, and how its JSON becomes figures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.cells import ECHO_PATH, PATIENCE, WARMUP
from bench.clientside import drive_client
from bench.launch import ROOT, Running, on_core
from bench.model import Cell
from bench.rivals import Server
from bench.schedule import Outcome

__all__ = ["LoadDriver", "read_report"]


@dataclass(frozen=True, slots=True)
class LoadDriver:
    """Calls ``fastws bench``, or a library's own client, on its core.

    ``command`` is replaced by a small fake in tests.
    """

    core: int | None
    command: tuple[str, ...] = (sys.executable, "-m", "fastws", "bench")

    def __call__(self, cell: Cell, server: Server, running: Running) -> Outcome:
        if cell.scenario == "client":
            return drive_client(cell, server.name, running.port, self.core)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            argv = [*self.command, *arguments(cell, server, running), "--json", str(report)]
            try:
                done = subprocess.run(
                    argv, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                    preexec_fn=on_core(self.core), timeout=(cell.seconds or 0) + PATIENCE,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return Outcome({}, "the generator did not end in time")
            if report.exists():
                return read_report(orjson.loads(report.read_bytes()), cell)
            lines = (done.stderr or done.stdout).strip().splitlines()
            return Outcome({}, lines[-1] if lines else f"the generator ended with {done.returncode}")


def arguments(cell: Cell, server: Server, running: Running) -> list[str]:
    """URL, scenario and options of one cell against one server."""
    scheme, path = "wss" if cell.tls else "ws", ECHO_PATH if "echo" in cell.needs else server.broadcast
    words = [f"{scheme}://127.0.0.1:{running.port}{path}", cell.scenario, *cell.options]
    words += ["--pid", str(running.process.pid), "--warmup", str(WARMUP)]
    if cell.seconds is not None:
        words += ["--duration", str(cell.seconds)]
    if cell.tls:
        words.append("--insecure")
    if server.merged_by is not None and "broadcast" in cell.needs:
        words += ["--merged-by", server.merged_by]
    return words


def read_report(report: dict[str, Any], cell: Cell) -> Outcome:
    """The figures of a cell out of the generator's JSON.

    A run in which a client was lost, refused or did not hear everything has no figures that count.
    """
    server, latency = report.get("server") or {}, report.get("latency") or {}
    found = {"rate": report["rate"], "cpu_us": server.get("cpu_us"), "rss_kb": server.get("rss_kb")}
    found |= {f"{name}_ms": latency.get(name) for name in ("p50", "p99")}
    metrics = {name: float(value) for name, value in found.items() if value is not None}
    if report["ok"] and report["reach"] == 1 and cell.metric.name in metrics:
        return Outcome(metrics, None, _remarks(report))
    return Outcome({}, "; ".join(_reasons(report)) or "no figures")


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
