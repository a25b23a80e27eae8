"""Where log lines go: ``fastws.error`` to stderr, ``fastws.access`` to stdout.

The library itself installs no handler; only the command does, because the process is its own.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from typing import TextIO

from fastws.cli.log_rate_limit import Sparing

__all__ = ["LEVELS", "configure"]

LEVELS = ("critical", "error", "warning", "info", "debug")

COLOURS = {
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
RESET = "\x1b[0m"


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines, and drops those that cannot be written.

    Neither a full disk nor a pipe that nobody reads may stop the server. ``dropped`` counts; the log
    says how many when it goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.dropped = 0
        self._missed = 0
        self._descriptor = descriptor_of(stream)
        self._poll = None
        if self._descriptor is not None:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def handleError(self, record: logging.LogRecord) -> None:
        self.dropped += 1

    def emit(self, record: logging.LogRecord) -> None:
        if self._poll is None:
            super().emit(record)
            return
        try:
            text = self.format(record) + "\n"
            if self._missed:
                text = f"\n{self._missed} lines of the log could not be written\n{text}"
            self._write(text.encode("utf-8", "backslashreplace"))
            self._missed = 0
        except Exception:
            self._missed += 1
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        """Write without ever waiting. Raises ``OSError`` where that cannot be."""
        assert self._poll is not None and self._descriptor is not None
        for start in range(0, len(data), select.PIPE_BUF):
            # A pipe that can be written takes this much at once (pipe(7)).
            if not self._poll.poll(0):
                raise BlockingIOError("nobody reads the log")
            os.write(self._descriptor, data[start : start + select.PIPE_BUF])


def descriptor_of(stream: TextIO) -> int | None:
    """The stream's file descriptor; None where it has none or the system cannot ask before writing."""
    try:
        return stream.fileno() if hasattr(select, "poll") else None
    except (OSError, ValueError):
        return None


class LevelFormatter(logging.Formatter):
    """Time, level, message; the level in colour on a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(level)s %(message)s", "%H:%M:%S")
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():8}"
        record.level = f"{COLOURS.get(record.levelno, '')}{name}{RESET}" if self.colour else name
        return super().format(record)


def wants_colour(stream: TextIO) -> bool:
    """Colour on a terminal, unless the person has said no (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def configure(level: str, *, access_log: bool) -> None:
    """Set up logging for this process. ``access_log=False`` silences ``fastws.access`` alone."""
    errors = LineHandler(sys.stderr)
    errors.setFormatter(LevelFormatter(colour=wants_colour(sys.stderr)))
    errors.addFilter(Sparing())
    for name in ("fastws", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [errors]
        logger.setLevel(level.upper())
        logger.propagate = False

    access = logging.getLogger("fastws.access")
    lines = LineHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    access.handlers[:] = [lines]
    access.propagate = False
    access.setLevel(logging.INFO)
    access.disabled = not access_log
