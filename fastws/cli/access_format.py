"""``--access-log-format``: lines of the access log with the fields that a person wants."""

from __future__ import annotations

import logging
import string
from typing import Any

import click

from fastws.log_output import LogTime, iso_time
from fastws.logs import escape

__all__ = ["FIELDS", "AccessFormatter", "check_access_format"]

#: Of a response, of a WebSocket that has ended, and of both. ``-`` stands for what a line does not have.
FIELDS = (
    "time", "event", "request_id", "trace_id", "peer", "method", "target", "path", "route", "version",
    "user", "status", "bytes", "seconds", "user_agent", "referer", "code", "reason", "initiator",
    "messages_received", "bytes_received", "messages_sent", "bytes_sent", "peak_queue", "dropped", "resumed",
    "line",
)  # fmt: skip


def check_access_format(text: str) -> None:
    """Raise `click.UsageError` for a format that cannot be."""
    from fastws.cli.config_file import suggestion

    try:
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise click.UsageError(f"--access-log-format: {error}") from None
    for name in names:
        if name not in FIELDS:
            hint = suggestion(name, FIELDS) or f"; there are {', '.join(FIELDS)}"
            raise click.UsageError(f"--access-log-format has no {{{name}}}{hint}")
    try:
        text.format_map(dict.fromkeys(FIELDS, Shown("-")))
    except ValueError as error:
        raise click.UsageError(f"--access-log-format: {error}") from None


class Shown(str):
    """A field as text: a width may be asked for, and the format of a number is passed over."""

    __slots__ = ()


class AccessFormatter(logging.Formatter):
    """Formats lines of the access log as a person has said.

    Args:
        text: the line, with fields in braces; checked already.
        zone: in which ``{time}`` is told.
    """

    def __init__(self, text: str, zone: LogTime) -> None:
        super().__init__()
        self._text = text
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        args = record.args
        if not (isinstance(args, tuple) and len(args) == 1 and hasattr(args[0], "log_fields")):
            return f"{iso_time(record.created, self._zone)} {record.getMessage()}"  # how many were dropped
        fields = args[0].log_fields()
        fields["time"] = iso_time(record.created, self._zone)
        fields["line"] = record.getMessage()
        return self._text.format_map({name: _shown(name, fields.get(name)) for name in FIELDS})


def _shown(name: str, value: Any) -> Shown:
    if value is None or value == "":
        return Shown("-")
    if isinstance(value, float):
        return Shown(f"{value:.3f}")
    return Shown(value if name == "line" else escape(str(value)))
