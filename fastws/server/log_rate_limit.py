"""Limits how many lines one cause may write to the log in a period, so that no client can fill it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

__all__ = ["LogRateLimit"]

log = logging.getLogger("fastws.error")


class LogRateLimit(logging.Filter):
    """Drops further lines of one cause after ``lines`` of them in a period.

    Lines with the same unformatted message have the same cause. When the period is over, the next line of any
    cause says how many lines were dropped. It is a filter for a handler; or who logs calls :meth:`log`, in
    programs that have no such handler too.

    Args:
        lines: of one cause in one period (10).
        seconds: the period, which begins with the first line (1).
        level: lines below it (a warning) are never dropped: a user who turned them on wants all of them.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        lines: int = 10,
        seconds: float = 1.0,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._lines = lines
        self._seconds = seconds
        self._level = level
        self._clock = clock
        #: By cause: when its period began, and how many lines it had in it, dropped or not.
        self._periods: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        dropped = self._take(record.levelno, str(record.msg))
        if dropped:
            record.msg = f"{record.getMessage()}{dropped}"
            record.args = None
        return dropped is not None

    def log(self, level: int, text: str, *values: object) -> None:
        """Log ``text % values``, of which there is at least one, unless it is to be dropped."""
        if log.isEnabledFor(level) and (dropped := self._take(level, text)) is not None:
            log.log(level, text + dropped.replace("%", "%%"), *values)

    def _take(self, level: int, cause: str) -> str | None:
        """Count a line; return what it has to say of dropped ones, or None when it is dropped itself."""
        if level < self._level:
            return ""
        now = self._clock()
        began, lines = self._periods.get(cause, (now, 0))
        if now - began >= self._seconds:
            began, lines = now, 0
        elif lines >= self._lines:
            self._periods[cause] = (began, lines + 1)
            return None
        dropped = self._end_periods(now)
        self._periods[cause] = (began, lines + 1)
        return f" (dropped before this line: {dropped})" if dropped else ""

    def _end_periods(self, now: float) -> str:
        """Forget the periods that are over. Return in words what was dropped in them."""
        over = [
            (cause, lines) for cause, (began, lines) in self._periods.items() if now - began >= self._seconds
        ]
        for cause, _ in over:
            del self._periods[cause]
        return ", ".join(
            f"{lines - self._lines} lines like '{_in_words(cause)}'"
            for cause, lines in over
            if lines > self._lines
        )


def _in_words(cause: str) -> str:
    """Return an unformatted message as a person reads it: dots stand for its values."""
    return re.sub(r"%[^a-zA-Z%]*([a-zA-Z%])", lambda found: "%" if found[1] == "%" else "...", cause)
