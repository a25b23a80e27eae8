"""How long a first import takes in a fresh interpreter that has asyncio already."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from bench.launch import ROOT, on_core

__all__ = ["import_milliseconds"]

TRIES = 5
CODE = "import asyncio, time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"


def import_milliseconds(line: str, core: int | None, tries: int = TRIES) -> float:
    """The median of ``tries`` fresh interpreters. Raises RuntimeError when the import fails.

    ``line`` imports what a program uses, so that what a package puts off until then counts too. One more
    interpreter goes before them, uncounted: it compiles the bytecode and warms the page cache.
    """
    return 1000 * statistics.median([_seconds(line, core) for _ in range(tries + 1)][1:])


def _seconds(line: str, core: int | None) -> float:
    argv = [sys.executable, "-c", CODE.format(line=line)]
    # Where bytecode may not be written, the time of the compiler would be in it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, preexec_fn=on_core(core))
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(f"{line!r} failed: {lines[-1] if lines else done.returncode}")
    return float(done.stdout)
