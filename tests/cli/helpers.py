"""Runs the ``fastws`` command as a person's shell would: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["Result", "fastws", "environment"]

ROOT = Path(__file__).parents[2]
Result = subprocess.CompletedProcess[str]


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child: ours without the options that somebody may have set in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FASTWS_") or k == "FASTWS_ENGINE"}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **extra}


def fastws(*args: object, cwd: Path | None = None, stdin: str = "", **env: str) -> Result:
    """Run ``fastws ARGS`` to its end, which must come within 20 seconds."""
    return subprocess.run(
        [sys.executable, "-m", "fastws", *map(str, args)],
        capture_output=True,
        cwd=cwd,
        env=environment(**env),
        input=stdin,
        text=True,
        timeout=20,
    )
