"""What the numbers were measured on, and whether it was idle."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.launch import ROOT

__all__ = ["Cores", "choose_cores", "describe", "idle_check"]

#: A core that is busier than this before the start is not idle.
BUSY_PERCENT = 5.0
CHECK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server and the generator run; None leaves it to the scheduler."""

    server: int | None
    client: int | None

    def words(self) -> str:
        if self.server is None:
            return "server and generator share one core: ratios are rough, figures are low"
        return f"server on core {self.server}, generator on core {self.client}"


def choose_cores() -> Cores:
    """The first two cores that this process may use; with one core nothing is pinned."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)


def describe() -> dict[str, str]:
    """Machine, kernel, versions, engine: the heading of every report."""
    engine, hot_path = _build()
    return {
        "cpu": _cpu(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": _system(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "fastws": _fastws(),
        "engine": engine,
        "hot path": hot_path,
        "uvloop": _version("uvloop"),
        "h11": _version("h11"),
        "wsproto": _version("wsproto"),
    }


def idle_check(seconds: float = CHECK_SECONDS) -> tuple[str, bool]:
    """Watch the machine for a moment. The sentence for the report, and whether it is idle."""
    processes = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    for process in processes:
        _cpu_percent(process)
    busy = psutil.cpu_percent(interval=seconds, percpu=True)
    load = ", ".join(f"core {core} {percent:.0f} % busy" for core, percent in enumerate(busy))
    if max(busy) <= BUSY_PERCENT:
        return f"The machine was idle before the start ({load}).", True
    used, name, pid = max((_cpu_percent(process), _name(process), process.pid) for process in processes)
    culprit = f"; most of it is {name} (pid {pid}, {used:.0f} %)" if used > BUSY_PERCENT else ""
    return f"The machine was NOT idle before the start ({load}{culprit}): do not trust these figures.", False


def _cpu_percent(process: psutil.Process) -> float:
    try:
        return float(process.cpu_percent())
    except psutil.Error:
        return 0.0


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "a process that has ended"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _fastws() -> str:
    """Version and, in a checkout, the commit."""
    from fastws._version import __version__

    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({commit})"


def _build() -> tuple[str, str]:
    """The engine, and whether the hot path is compiled, as a server of this environment has them."""
    imports = "from fastws.connection import connection; from fastws.protocol.websocket import frames"
    code = f"{imports}; print(frames.ENGINE, connection.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        return "unknown", "unknown"
    engine, file = done.stdout.split(maxsplit=1)
    return engine, "interpreted" if file.strip().endswith(".py") else "compiled"
