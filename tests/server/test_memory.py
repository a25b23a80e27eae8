"""What a process of its own keeps of its memory, and when it gives it back."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import subprocess
import sys
from typing import Any

import pytest

from fastws.server import memory

GLIBC = hasattr(ctypes.CDLL(None), "malloc_trim")


class Libc:
    def __init__(self) -> None:
        self.trims = 0

    def malloc_trim(self, pad: int) -> int:
        self.trims += 1
        return 1


async def look(monkeypatch: pytest.MonkeyPatch, seconds_of_cpu: list[float]) -> int:
    """Let it look as often as there are readings of the process's clock; return how often it trimmed."""
    libc = Libc()
    readings = iter(seconds_of_cpu)

    def read() -> float:
        try:
            return next(readings)
        except StopIteration:
            raise asyncio.CancelledError from None

    monkeypatch.setattr(memory, "_libc", lambda: libc)
    monkeypatch.setattr(memory, "CHECK_INTERVAL", 0)
    monkeypatch.setattr("fastws.server.memory.time.process_time", read)
    with contextlib.suppress(asyncio.CancelledError):
        await memory.trim_when_calm()
    return libc.trims


@pytest.mark.parametrize(
    ("seconds_of_cpu", "trims"),
    [
        # Nothing to speak of; never calm; calm again; and once more. After each time the clock is read.
        ([0, 0.005, 0.01, 0.015], 0),
        ([0, 1, 2, 3], 0),
        ([0, 1, 1, 1, 1, 1], 1),
        ([0, 1, 1, 1, 2, 2, 2], 2),
        # Little at a time is work, too.
        ([0, 0.01, 0.02, 0.03, 0.03, 0.04], 1),
        # What took 10 ms is not done again before 200 ms are used.
        ([0, 1, 1, 1.01, 1.05, 1.12, 1.2, 1.22, 1.23], 2),
    ],
)
async def test_trims_once_in_a_calm_time_after_work(
    monkeypatch: pytest.MonkeyPatch, seconds_of_cpu: list[float], trims: int
) -> None:
    assert await look(monkeypatch, seconds_of_cpu) == trims


async def test_without_glibc_it_leaves_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert memory.keep_blocks() is False
    await memory.trim_when_calm()


@pytest.mark.skipif(not GLIBC, reason="this libc has no mallopt")
def test_blocks_are_kept() -> None:
    """In a process of its own: it cannot be undone."""
    code = "from fastws.server.memory import keep_blocks; print(keep_blocks())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "True", done.stderr
