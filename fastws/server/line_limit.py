"""Bounds the lines that clients can cause in the log, in programs that have no filter of ours too."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["LineLimit"]

log = logging.getLogger("fastws.error")


class LineLimit:
    """Logs so many lines of one kind in a period; the next one says how many were left out.

    Lines with the same text, before its values are filled in, are of one kind: the caller sees to it that
    there are few texts. Lines for debugging are never left out.

    Args:
        lines: of one kind in one period.
        seconds: the period, which begins with the first line.
        clock: monotonic, in seconds.
    """

    def __init__(self, lines: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        #: By text: when its period began, and how many lines it had, logged or not.
        self._periods: dict[str, tuple[float, int]] = {}

    def log(self, level: int, text: str, *values: object) -> None:
        """Log ``text % values``, unless there were enough of its kind."""
        if not log.isEnabledFor(level):
            return
        if level < logging.INFO:  # who turned them on wants all of them
            log.log(level, text, *values)
            return
        now = self._clock()
        began, count = self._periods.get(text, (now, 0))
        left_out = 0
        if now - began >= self._seconds:
            left_out = max(count - self._lines, 0)
            began, count = now, 0
        self._periods[text] = (began, count + 1)
        if count >= self._lines:
            return
        if left_out:
            text += f" (left out before this line: {left_out} of its kind)"
        log.log(level, text, *values)
