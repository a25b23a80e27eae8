"""Tells the hang-up of a terminal from a SIGHUP that asks for a reload."""

from __future__ import annotations

import os
import signal

__all__ = ["Terminal"]


class Terminal:
    """The controlling terminal of this process, if it has one when this object is made."""

    def __init__(self) -> None:
        self._there = has_terminal()
        # `nohup` asks to outlive the terminal.
        self._ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def hung_up(self) -> bool:
        """Called at a SIGHUP: True, once, where the terminal has gone and the process should go with it."""
        if not self._there or has_terminal():
            return False
        self._there = False
        return not self._ignored


def has_terminal() -> bool:
    """Whether this process has a controlling terminal that has not hung up (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
