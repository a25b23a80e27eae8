"""Where log lines go: ``fastws.error`` to stderr, ``fastws.access`` to stdout.

The library installs no handler. The command does: the process is its own.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from typing import Any, TextIO

from fastws.logs import exception_text
from fastws.server.log_rate_limit import LogRateLimit

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
#: Local time, with the date: a server runs for weeks.
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines and never waits: it drops those that cannot be written now.

    A full disk, or a pipe that nobody reads, must not stop the server. The next line that can be written says
    how many were dropped; ``dropped`` counts all of them.
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
        """Write without waiting. Raises ``OSError`` where the stream takes nothing now."""
        assert self._poll is not None and self._descriptor is not None
        for start in range(0, len(data), select.PIPE_BUF):
            # A pipe that poll(2) reports as writable takes this many bytes at once (pipe(7)).
            if not self._poll.poll(0):
                raise BlockingIOError("nobody reads the log")
            os.write(self._descriptor, data[start : start + select.PIPE_BUF])


def descriptor_of(stream: TextIO) -> int | None:
    """The stream's file descriptor. None: it has none, or the system has no poll(2)."""
    try:
        return stream.fileno() if hasattr(select, "poll") else None
    except (OSError, ValueError):
        return None


class LevelFormatter(logging.Formatter):
    """Formats a line as time, level and message. On a terminal the level has a colour."""

    def __init__(self, *, colour: bool, label: str = "") -> None:
        super().__init__(f"%(asctime)s %(level)s {label}%(message)s", TIME_FORMAT)
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():8}"
        record.level = f"{COLOURS.get(record.levelno, '')}{name}{RESET}" if self.colour else name
        return super().format(record)

    def formatException(self, ei: Any) -> str:
        return exception_text(ei[1]) if ei[1] is not None else super().formatException(ei)


def wants_colour(stream: TextIO) -> bool:
    """True for a terminal, unless the user wants no colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def configure(level: str, *, access_log: bool, worker: int | str | None = None) -> None:
    """Set up logging for this process. ``access_log=False`` silences ``fastws.access`` and nothing else.

    With ``worker`` each line says which worker has written it: ``[2]`` before its message.
    """
    label = "" if worker is None else f"[{worker}] "
    errors = LineHandler(sys.stderr)
    errors.setFormatter(LevelFormatter(colour=wants_colour(sys.stderr), label=label))
    errors.addFilter(LogRateLimit())
    for name in ("fastws", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [errors]
        logger.setLevel(level.upper())
        logger.propagate = False

    access = logging.getLogger("fastws.access")
    lines = LineHandler(sys.stdout)
    lines.setFormatter(logging.Formatter(f"%(asctime)s {label}%(message)s", TIME_FORMAT))
    access.handlers[:] = [lines]
    access.propagate = False
    access.setLevel(logging.INFO)
    access.disabled = not access_log
