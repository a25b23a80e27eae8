"""A bound on how often one cause may write to the log, so that no stranger can fill it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["Sparing"]

#: Lines of one cause in a second; what a cause is, the unformatted message says.
LINES = 10
SECOND = 1.0


class Sparing(logging.Filter):
    """Lets ``LINES`` lines of one cause through in a second; says how many it kept back, and of what.

    It says so with the next line that it lets through, whatever its cause, once that second is over. What is
    below a warning passes: who turned that on wants all of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By cause: the beginning of its second, and the lines of that second.
        self._seconds: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        cause = str(record.msg)
        began, lines = self._seconds.get(cause, (now, 0))
        if now - began >= SECOND:
            began, lines = now, 0
        elif lines >= LINES:
            self._seconds[cause] = (began, lines + 1)
            return False
        kept_back = self._over(now)
        self._seconds[cause] = (began, lines + 1)
        if kept_back:
            record.msg = f"{record.getMessage()} (before it, kept back: {kept_back})"
            record.args = None
        return True

    def _over(self, now: float) -> str:
        """Forget the seconds that are over; return what they kept back, in words."""
        over = [(cause, lines) for cause, (began, lines) in self._seconds.items() if now - began >= SECOND]
        for cause, _ in over:
            del self._seconds[cause]
        return ", ".join(f"{lines - LINES} lines of {cause!r}" for cause, lines in over if lines > LINES)
