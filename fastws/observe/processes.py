"""CPU, memory and files of all processes of a server, as the system tells them (proc(5), getrusage(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["process_families"]


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
            # Linux 6.2 says the number as the size of the folder: to list thousands would cost milliseconds.
            folder = f"/proc/{pid}/fd"
            files += os.stat(folder).st_size or len(os.listdir(folder))
        except (OSError, IndexError):
            continue  # it has ended meanwhile
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


def boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
