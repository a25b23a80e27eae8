"""The processes of workers, as the log of their server and the kernel tell of them."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.cli.helpers import PATIENCE, Child

READY = re.compile(r"worker \d+ \(pid (\d+)\) is ready")


def pids(server: Child, count: int) -> list[int]:
    """The processes of the workers, as soon as so many have become ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [int(pid) for pid in READY.findall(server.stderr())]
        if len(found) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError(server.stderr())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # reaped before or while it is read
        return True


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if gone(pid):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")
