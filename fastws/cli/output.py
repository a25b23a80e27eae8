"""What the commands write, also where that cannot be: a full disk, or a pipe that nobody reads."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

import click

__all__ = ["NO_ROOM", "is_broken", "nowhere", "say"]

#: What a file says that takes nothing more. A pipe that nobody reads is no failure of ours.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def say(text: str, *, nl: bool = True) -> None:
    """Write to stderr. Where that cannot be there is nobody to tell."""
    try:
        click.echo(text, err=True, nl=nl)
    except OSError:
        sys.stderr = nowhere()


def is_broken(output: TextIO | None) -> bool:
    """True where what was written to an output cannot be, and the failure is not that of another file."""
    if output is None or getattr(output, "write_through", False):
        return True  # nothing is held back that could tell
    try:
        output.flush()
    except OSError:
        return True
    return False


def nowhere() -> TextIO:
    """Return what stands for an output that has failed: at its end Python would fail to write the rest."""
    return open(os.devnull, "w", encoding="utf-8")
