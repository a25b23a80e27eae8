"""CPU and memory of a server, read from /proc: of one process and all its descendants."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastws.loadgen.plan import LoadgenError

__all__ = ["ServerProbe", "Usage"]

PROC = Path("/proc")
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of CPU time so far, and resident bytes now."""

    cpu: float
    rss: int


class ServerProbe:
    """A callable that reads the usage of a server. Raises LoadgenError where there is no such process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self()

    def __call__(self) -> Usage:
        processes = list(process_tree(self._pid))
        if not processes:
            raise LoadgenError(f"--pid {self._pid}: there is no such process")
        return Usage(sum(map(cpu_seconds, processes)), sum(map(rss_bytes, processes)))


def process_tree(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := stat_fields(int(entry.name))):
            parents[int(entry.name)] = int(stat[1])
    for each in parents:
        ancestor: int | None = each
        while ancestor is not None and ancestor != pid:
            ancestor = parents.get(ancestor)
        if ancestor == pid:
            yield each


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on. Empty: the process has ended."""
    try:
        # The name before them stands in parentheses and may contain some.
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, also of those that have ended."""
    try:
        # The process's own clock, in nanoseconds: what clock_getcpuclockid(3) returns.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        fields = stat_fields(pid)
        return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def rss_bytes(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
