"""What the kernel says of a running process."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "MIB",
    "Watch",
    "cpu_seconds",
    "open_files",
    "rss",
    "sampled_rss",
    "settled_files",
    "watch",
]

MIB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def rss(pid: int | str = "self") -> int:
    """Resident bytes now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def peak_rss(pid: int) -> int:
    """The most resident bytes since :func:`forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> None:
    """Let the peak begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, since the process began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def open_files(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@dataclass
class Watch:
    """How a process changed while something happened; complete when the block has ended."""

    pid: int
    rss_before: int
    rss_grown: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    samples: list[int] = field(default_factory=list)


@contextmanager
def watch(pid: int) -> Iterator[Watch]:
    """Measure the growth of resident memory at its highest, CPU and wall time."""
    watched = Watch(pid, rss(pid))
    forget_peak(pid)
    cpu, started = cpu_seconds(pid), time.monotonic()
    yield watched
    watched.seconds = time.monotonic() - started
    watched.cpu = cpu_seconds(pid) - cpu
    watched.rss_grown = peak_rss(pid) - watched.rss_before


@contextmanager
def sampled_rss(pid: int, interval: float = 0.1) -> Iterator[Watch]:
    """As :func:`watch`, and with a sample of resident bytes each ``interval`` seconds."""
    done = threading.Event()

    def sample(into: list[int]) -> None:
        while not done.wait(interval):
            into.append(rss(pid))

    with watch(pid) as watched:
        sampler = threading.Thread(target=sample, args=(watched.samples,))
        sampler.start()
        try:
            yield watched
        finally:
            done.set()
            sampler.join()


async def settled_files(pid: int) -> int:
    """Open files, once those have gone that were going."""
    count, since = open_files(pid), time.monotonic()
    while time.monotonic() - since < 0.2:
        await asyncio.sleep(0.02)
        if (now := open_files(pid)) != count:
            count, since = now, time.monotonic()
    return count
