"""When a crashed worker is started again, and how often the log speaks of it."""

from __future__ import annotations

__all__ = ["CrashHistory"]

#: Seconds before the second start in a row; each further one waits twice as long.
FIRST_DELAY = 0.5
MAX_DELAY = 30.0
#: After so many seconds without a crash the next one is the first again.
CALM_SECONDS = 60.0
#: Crashes in a row that have a line each. From then on there is one line a minute.
SINGLE_LINES = 2
SUMMARY_SECONDS = 60.0


class CrashHistory:
    """The crashes of the last minute of all workers together."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last = 0.0
        #: Of the crash loop: since when the log has said nothing, and how many crashes there were.
        self._next_line = 0.0
        self._unsaid = 0

    def add(self, now: float) -> float:
        """Note a crash. Return the seconds to wait before the next start: 0 after the first crash."""
        if now - self._last > CALM_SECONDS:
            self._in_a_row = 0
        self._last = now
        self._in_a_row += 1
        if self._in_a_row == 1:
            return 0.0
        return min(FIRST_DELAY * 2.0 ** min(self._in_a_row - 2, 16), MAX_DELAY)

    def line(self, now: float, what: str, delay: float) -> str | None:
        """Return what the log says of the crash that was just added; None: nothing, as a line was there."""
        if self._in_a_row <= SINGLE_LINES:
            return what + (f"; a new one starts in {delay:g} s" if delay else "; a new one starts")
        self._unsaid += 1
        if self._in_a_row == SINGLE_LINES + 1 or now >= self._next_line:
            said, self._unsaid = self._unsaid, 0
            self._next_line = now + SUMMARY_SECONDS
            more = f" ({said} since the last line)" if said > 1 else ""
            return f"workers crash again and again{more}: {what}; a new one starts in {delay:g} s"
        return None
