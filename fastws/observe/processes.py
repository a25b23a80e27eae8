"""CPU, memory and files of all processes of a server, as the system tells them (proc(5), getrusage(2))."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["OpenFiles", "process_families"]

#: Seconds after which the files of a process are listed again, where the system does not say their number.
LIST_SECONDS = 60.0


class OpenFiles:
    """Knows how many files processes have open.

    Linux 6.2 and newer say it as the size of a folder. Before, they have to be listed, and of thousands that
    takes milliseconds: a scrape gets the number of the last list, and a thread makes the next one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By process: how many there were, and when.
        self._lists: dict[int, tuple[int, float]] = {}

    def of(self, pid: int) -> int:
        """Return how many files a process has open. Raises ``OSError`` where it has ended."""
        folder = f"/proc/{pid}/fd"
        if size := os.stat(folder).st_size:
            return size
        if pid not in self._lists:
            self._list(pid)
        number, listed_at = self._lists[pid]
        now = self._clock()
        if now - listed_at >= LIST_SECONDS:
            self._lists[pid] = number, now
            threading.Thread(target=self._list, args=(pid,), name="fastws-files", daemon=True).start()
        return number

    def keep(self, pids: Sequence[int]) -> None:
        """Forget other processes: they have ended."""
        for pid in self._lists.keys() - set(pids):
            del self._lists[pid]

    def _list(self, pid: int) -> None:
        try:
            number = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            number = 0  # it has ended meanwhile
        self._lists[pid] = number, self._clock()


FILES = OpenFiles()


def process_families(pids: list[int]) -> Iterator[Metric]:
    """Return the metrics under their usual names, summed over this process and ``pids``, its children.

    The CPU time of children that have ended stays in the sum. Where there is no /proc, there is nothing.
    """
    if not os.path.exists("/proc/self/stat"):
        return
    import resource  # not above: where /proc is, it is too

    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    children = [pid for pid in pids if pid != os.getpid()]
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    memory = files = 0
    started = boot_time() + float(fields_of(os.getpid())[19]) / ticks
    for pid in [os.getpid(), *children]:
        try:
            if pid in children:
                found = fields_of(pid)
                cpu += (int(found[11]) + int(found[12])) / ticks
            memory += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            files += FILES.of(pid)
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    FILES.keep([os.getpid(), *children])
    yield CounterMetricFamily("process_cpu_seconds", "CPU time of all processes, in seconds.", value=cpu)
    yield GaugeMetricFamily(
        "process_resident_memory_bytes", "Resident memory of all processes, in bytes.", value=memory
    )
    yield GaugeMetricFamily("process_open_fds", "Open files of all processes.", value=files)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield GaugeMetricFamily("process_max_fds", "Files that each process may have open.", value=limit)
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "When the first process started, in seconds of Unix time.",
        value=started,
    )


def fields_of(pid: int) -> list[str]:
    """Return /proc/PID/stat from its third field on, behind the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@lru_cache(maxsize=1)
def boot_time() -> float:
    """Return when the machine started. Of many cores /proc/stat is long, so it is read once."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
