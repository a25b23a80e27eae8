"""What made a report: the command, the machine it ran on, and the versions."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

from fastws._version import __version__, hot_path_state
from fastws.protocol.websocket.frames import ENGINE

__all__ = ["command_line", "made_by"]

#: Headers whose values are secrets.
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


def made_by() -> dict[str, str]:
    """The command, the machine and the versions. The server's own are not known."""
    return {
        "command": command_line(sys.argv),
        "machine": f"{cpu()}, {os.cpu_count()} cores, {memory()}",
        "system": f"{distribution()}, kernel {platform.release()}",
        "versions": f"fastws {__version__} (engine {ENGINE}, hot path {hot_path_state()}), "
        f"{platform.python_implementation()} {platform.python_version()}, uvloop {package('uvloop')}",
    }


def command_line(words: list[str]) -> str:
    """The command as a shell takes it. Values of headers that carry secrets are left out."""
    name = "fastws" if Path(words[0]).name == "__main__.py" else Path(words[0]).name
    shown = []
    for before, word in pairwise(words):
        start = "--header=" if word.startswith("--header=") else ""
        header, colon, _ = word.removeprefix(start).partition(":")
        if (start or before == "--header") and header.strip().lower() in SECRET_HEADERS:
            word = f"{start}{header}{colon}..."
        shown.append(word)
    return shlex.join([name, *shown])


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
