"""The cells of clients: ``clients/NAME_client.py`` on the generator's core, a bare server on the other."""

from __future__ import annotations

import subprocess
import sys

import orjson

from bench.cells import ECHO_PATH, PATIENCE, WARMUP
from bench.launch import ROOT, environment, on_core
from bench.model import Cell
from bench.rivals import CLIENTS
from bench.schedule import Outcome

__all__ = ["drive_client"]


def drive_client(cell: Cell, name: str, port: int, core: int | None) -> Outcome:
    """The figures of one client library; its last line on stderr where it fails."""
    script = CLIENTS / f"{name.replace('-', '_')}_client.py"
    argv = [sys.executable, str(script), f"ws://127.0.0.1:{port}{ECHO_PATH}", *cell.options]
    argv += ["--warmup", str(WARMUP), "--duration", str(cell.seconds)]
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL,
            preexec_fn=on_core(core), timeout=(cell.seconds or 0) + PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome({}, "the client did not end in time")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return Outcome({}, lines[-1] if lines else f"the client ended with {done.returncode}")
    return Outcome(orjson.loads(done.stdout))
