"""Limits how many lines a second one cause may write to the log, so that no client can fill it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["LogRateLimit"]

#: Lines of one cause in one period. Lines with the same unformatted message have the same cause.
LINES_PER_PERIOD = 10
PERIOD_SECONDS = 1.0


class LogRateLimit(logging.Filter):
    """A filter that drops further lines of one cause after ``LINES_PER_PERIOD`` of them in a period.

    When the period is over, the next line of any cause says how many lines were dropped. Lines below a
    warning are never dropped: a user who turned them on wants all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By cause: when its period began, and how many lines it had in it.
        self._periods: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        cause = str(record.msg)
        began, lines = self._periods.get(cause, (now, 0))
        if now - began >= PERIOD_SECONDS:
            began, lines = now, 0
        elif lines >= LINES_PER_PERIOD:
            self._periods[cause] = (began, lines + 1)
            return False
        dropped = self._end_periods(now)
        self._periods[cause] = (began, lines + 1)
        if dropped:
            record.msg = f"{record.getMessage()} (dropped before this line: {dropped})"
            record.args = None
        return True

    def _end_periods(self, now: float) -> str:
        """Forget the periods that are over. Return in words what was dropped in them."""
        over = [
            (cause, lines) for cause, (began, lines) in self._periods.items() if now - began >= PERIOD_SECONDS
        ]
        for cause, _ in over:
            del self._periods[cause]
        return ", ".join(
            f"{lines - LINES_PER_PERIOD} lines of {cause!r}"
            for cause, lines in over
            if lines > LINES_PER_PERIOD
        )
