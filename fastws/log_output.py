"""Handlers, formatters and filters for the lines of a log. The library itself installs none of them.

``fastws serve`` uses them, and so may any program: in ``logging.config.dictConfig`` as
``{"()": "fastws.JSONFormatter"}``.
"""

from __future__ import annotations

import json
import logging
import os
import select
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from fastws.logs import current_request, exception_text

__all__ = ["JSONFormatter", "LineHandler", "LogTime", "RequestIdFilter", "TextFormatter", "iso_time"]

COLOURS = {
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
RESET = "\x1b[0m"

#: ``"local"`` or ``"utc"``.
LogTime = str


def iso_time(
    seconds: float, zone: LogTime = "local", *, separator: str = "T", unit: str = "milliseconds"
) -> str:
    """Return a time as ISO 8601 has it, with its distance from UTC; ``Z`` is UTC.

    Args:
        seconds: since 1970.
        zone: ``"utc"``, or ``"local"`` (default) for the time of this machine.
        separator: between date and time (``T``).
        unit: ``"seconds"``, ``"milliseconds"`` (default) or ``"microseconds"``.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    if zone == "utc":
        return moment.isoformat(separator, unit).removesuffix("+00:00") + "Z"
    return moment.astimezone().isoformat(separator, unit)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines and never waits: it drops those that cannot be written now.

    A full disk, or a pipe that nobody reads, must not stop the server. The next line that can be written says
    how many were dropped; ``dropped`` counts all of them. Its thread may be any, one at a time: ``logging``
    takes care of that.

    Args:
        stream: standard output or error, or another open file.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.dropped = 0
        self._missed = 0
        #: The last line was written in part.
        self._is_torn = False
        self._descriptor = descriptor_of(stream)
        self._poll = None
        if self._descriptor is not None:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that could not be written; there is nobody to tell."""
        self.dropped += 1

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or drop it."""
        if self._poll is None:
            super().emit(record)
            return
        try:
            text = self.format(record) + "\n"
            if self._missed:
                text = f"{self.format(self._notice(record))}\n{text}"
            if self._is_torn:
                text = f"\n{text}"
            self._write(text.encode("utf-8", "backslashreplace"))
            self._missed = 0
        except Exception:
            self._missed += 1
            self.handleError(record)

    def _notice(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a record that says how many lines were dropped before this one."""
        text = "%d lines of the log could not be written"
        notice = logging.LogRecord(record.name, logging.WARNING, __file__, 0, text, (self._missed,), None)
        notice.created = record.created
        return notice

    def _write(self, data: bytes) -> None:
        """Write without waiting. Raises ``OSError`` where the stream takes nothing now."""
        assert self._poll is not None and self._descriptor is not None
        for start in range(0, len(data), select.PIPE_BUF):
            # A pipe that poll(2) reports as writable takes this many bytes at once (pipe(7)).
            if not self._poll.poll(0):
                raise BlockingIOError("nobody reads the log")
            piece = data[start : start + select.PIPE_BUF]
            written = os.write(self._descriptor, piece)
            # A disk that is nearly full takes a part of it.
            self._is_torn = piece[:written][-1:] != b"\n"
            if written < len(piece):
                raise OSError("the disk is full")


def descriptor_of(stream: TextIO) -> int | None:
    """The stream's file descriptor. None: it has none, or the system has no poll(2)."""
    try:
        return stream.fileno() if hasattr(select, "poll") else None
    except (OSError, ValueError):
        return None


class RequestIdFilter(logging.Filter):
    """Gives each record the ``request_id`` and the ``trace_id`` of the request that it is about.

    That is the one of :func:`fastws.current_request`; or that of the :class:`fastws.WebSocket` or the
    :class:`fastws.Request` among the arguments of the line, or in ``extra={"websocket": ws}``: callbacks of a
    handler are called for many clients in turn. In a format such as ``%(request_id)s`` a ``-`` stands where
    there is none.

    It lets all records through; it belongs to a handler.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Find the request of a record; True."""
        if hasattr(record, "request_id"):
            return True
        request = current_request() or _request_among(record)
        record.request_id = "-" if request is None else request.request_id
        record.trace_id = "-" if request is None else request.trace_id or "-"
        return True


def _request_among(record: logging.LogRecord) -> Any:
    args = record.args if isinstance(record.args, tuple) else ()
    for each in (getattr(record, "websocket", None), *args):
        request = getattr(each, "request", each)
        if isinstance(getattr(request, "request_id", None), str):
            return request
    return None


class TextFormatter(logging.Formatter):
    """Formats a line as time, level and message.

    Args:
        zone: ``"local"`` (default) or ``"utc"``, in which the time is told.
        colour: gives the level a colour, for a terminal. Default: none.
        label: stands before each message. Default: nothing.
        level: False leaves the level out. Default True.
    """

    def __init__(
        self, *, zone: LogTime = "local", colour: bool = False, label: str = "", level: bool = True
    ) -> None:
        super().__init__(f"%(asctime)s {'%(level)s ' if level else ''}{label}%(message)s")
        self._zone = zone
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, with its traceback."""
        name = f"{record.levelname.lower():8}"
        record.level = f"{COLOURS.get(record.levelno, '')}{name}{RESET}" if self._colour else name
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record."""
        return iso_time(record.created, self._zone, separator=" ", unit="seconds")

    def formatException(self, ei: Any) -> str:
        """Return a traceback in which nothing controls a terminal."""
        return exception_text(ei[1]) if ei[1] is not None else super().formatException(ei)


class JSONFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII, whatever clients have sent.

    It has ``time`` (ISO 8601), ``level``, ``logger`` and ``message``; ``exception`` with a traceback where
    there is one; the fields of an access line (:doc:`/logs`); ``request_id`` and ``trace_id`` where
    :class:`fastws.RequestIdFilter` has found them; and what ``extra=`` brought.

    Args:
        zone: ``"utc"`` (default) or ``"local"``, in which the time is told.
        fields: stand in each line behind its own, such as ``{"worker": 2}``. Default: none.
    """

    def __init__(self, *, zone: LogTime = "utc", fields: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._zone = zone
        self._fields = dict(fields or {})

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        line: dict[str, Any] = {
            "time": iso_time(record.created, self._zone),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
        }
        args = record.args
        if isinstance(args, tuple) and len(args) == 1 and hasattr(args[0], "log_fields"):
            line |= {name: value for name, value in args[0].log_fields().items() if value is not None}
        line |= {
            name: value
            for name, value in vars(record).items()
            if name not in RECORD_FIELDS and not (value == "-" and name in REQUEST_FIELDS)
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = exception_text(record.exc_info[1])
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(_plain(line), separators=(",", ":"))


#: What each record has of its own.
RECORD_FIELDS = {*vars(logging.makeLogRecord({})), "asctime", "level", "message", "taskName", "websocket"}
#: What `RequestIdFilter` adds, ``-`` for nothing.
REQUEST_FIELDS = ("request_id", "trace_id")

#: Tables in tables are shown as text beyond so many levels.
MAX_LEVELS = 4


def _plain(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Return a value that JSON has; text for one that it has not, and valid Unicode for what is none."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else hex(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if levels and isinstance(value, Mapping):
        return {_plain(str(name)): _plain(each, levels - 1) for name, each in value.items()}
    if levels and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, levels - 1) for each in value]
    return _plain(str(value))
