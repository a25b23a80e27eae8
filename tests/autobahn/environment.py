"""The suite's own environment: Python 2, made once and kept in a folder that git ignores.

``python -m tests.autobahn.environment`` tells which Python 2.7 that is, or fails and tells why there is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "Missing", "python27", "wstest"]

ROOT = Path(__file__).parents[2]
#: The last line of virtualenv that still makes environments of Python 2.7.
VIRTUALENV = "virtualenv==20.21.1"
SUITE = "autobahntestsuite==25.10.1"
#: Seconds for one step of making the environment.
PATIENCE = 300


class Missing(Exception):
    """The suite cannot run here; the text says why."""


def wstest() -> Path:
    """Return the suite's command; make its environment at first. Raises :class:`Missing`.

    ``FASTWS_AUTOBAHN_DIR`` is where that is kept, ``FASTWS_PYTHON27`` the interpreter for it.
    """
    folder = Path(os.environ.get("FASTWS_AUTOBAHN_DIR") or ROOT / ".autobahn")
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "ats" / "bin" / "wstest"
    with _alone(folder / "lock"):
        if not command.exists():
            _make(folder)
    return command


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time make the environment."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    python = python27()
    tools, suite = folder / "tools", folder / "ats"
    for path in (tools, suite):
        shutil.rmtree(path, ignore_errors=True)
    _run(sys.executable, "-m", "venv", tools)
    _run(tools / "bin" / "pip", "install", "-q", VIRTUALENV)
    _run(tools / "bin" / "virtualenv", "-q", "-p", python, suite)
    try:
        _run(suite / "bin" / "pip", "install", "-q", SUITE)
    except Missing:
        shutil.rmtree(suite)
        raise


def _run(*command: object) -> None:
    # Nothing of the environment that this process runs in may reach the other Python.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=env, timeout=PATIENCE, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Missing(f"{Path(str(command[0])).name} failed: {' '.join(last)}")


def python27() -> str:
    """Where a CPython 2.7 is: ``FASTWS_PYTHON27``, on the path, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        os.environ.get("FASTWS_PYTHON27"),
        *sorted(map(str, pyenv.glob("versions/2.7.*/bin/python2.7"))),
        shutil.which("python2.7"),
        shutil.which("python2"),
    ]
    for candidate in filter(None, candidates):
        # One on the path may be a shim of pyenv that leads nowhere.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            told = subprocess.run([candidate, "--version"], capture_output=True, text=True, timeout=20)
            if (told.stderr + told.stdout).startswith("Python 2.7"):
                return candidate
    raise Missing("no Python 2.7 was found; pyenv installs one, FASTWS_PYTHON27 names another")


if __name__ == "__main__":
    try:
        print(python27())
    except Missing as missing:
        print(missing)
        sys.exit(1)
