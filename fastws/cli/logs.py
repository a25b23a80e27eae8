"""Where log lines go: ``fastws.error`` to stderr, ``fastws.access`` to stdout.

The library installs no handler. The command does: the process is its own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click

from fastws.cli.options import adds, option
from fastws.log_output import JSONFormatter, LineHandler, RequestIdFilter, TextFormatter
from fastws.server.log_rate_limit import LogRateLimit

__all__ = ["LEVELS", "check_log_options", "configure", "log_options", "say"]

LEVELS = ("critical", "error", "warning", "info", "debug")
#: Options that say how a line looks: in place of them ``--log-config`` names a file.
LOOKS = {"log_format": "text", "log_time": "local", "access_log_format": None}

OPTIONS = [
    option(
        "--access-log/--no-access-log",
        section="Logs",
        default=True,
        help="Write a line to stdout for each response and each closed WebSocket.",
    ),
    option(
        "--access-log-format",
        section="Logs",
        metavar="TEXT",
        help="Such a line in place of the usual one, with fields in braces: '{time} {peer} {path} {code}'.",
    ),
    option(
        "--log-level",
        section="Logs",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="info",
        help="Level of the log on stderr.",
    ),
    option(
        "--log-format",
        section="Logs",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Lines for people, or a JSON object a line, of both logs.",
    ),
    option(
        "--log-time",
        section="Logs",
        type=click.Choice(["local", "utc"]),
        default="local",
        help="The time of this machine with its distance from UTC, or UTC.",
    ),
    option(
        "--log-config",
        section="Logs",
        metavar="FILE",
        help="Configure logging by this file instead, as Python's logging.config has it: JSON, "
        "YAML, TOML or INI.",
    ),
]

log_options = adds(OPTIONS)


def check_log_options(options: Mapping[str, Any]) -> None:
    """Check what :func:`configure` is to do. Raises `click.UsageError` and `CannotStart`."""
    if options["log_config"] is not None:
        for name, usual in LOOKS.items():
            if options[name] != usual:
                raise click.UsageError(f"--{name.replace('_', '-')} does not go with --log-config")
        from fastws.cli.log_config import read_log_config

        read_log_config(options["log_config"])
        return
    if options["access_log_format"] is None:
        return
    if options["log_format"] == "json":
        raise click.UsageError("--access-log-format does not go with --log-format json")
    from fastws.cli.access_format import check_access_format

    check_access_format(options["access_log_format"])


def wants_colour(stream: TextIO) -> bool:
    """True for a terminal, unless the user wants no colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def configure(options: Mapping[str, Any], *, worker: int | str | None = None) -> None:
    """Set up logging for this process. ``--no-access-log`` silences ``fastws.access`` and nothing else.

    With ``worker`` each line says which worker has written it: ``[2]`` before its message, or ``worker``.

    Raises:
        CannotStart: ``--log-config`` cannot be used.
    """
    access = logging.getLogger("fastws.access")
    if options["log_config"] is not None:
        from fastws.cli.log_config import configure_by_file

        configure_by_file(options["log_config"])
        access.disabled = not options["access_log"]
        return
    errors = LineHandler(sys.stderr)
    errors.setFormatter(_formatter(options, worker, colour=wants_colour(sys.stderr)))
    errors.addFilter(LogRateLimit())
    if options["log_format"] == "json":
        errors.addFilter(RequestIdFilter())
    for name in ("fastws", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [errors]
        logger.setLevel(options["log_level"].upper())
        logger.propagate = False
    lines = LineHandler(sys.stdout)
    lines.setFormatter(_formatter(options, worker, level=False))
    access.handlers[:] = [lines]
    access.propagate = False
    access.setLevel(logging.INFO)
    access.disabled = not options["access_log"]


def say(text: str) -> None:
    """Tell who has started the server, at any log level: a line on stderr, JSON where the log is."""
    for handler in logging.getLogger("fastws").handlers:
        if isinstance(handler.formatter, JSONFormatter):
            handler.emit(logging.LogRecord("fastws.error", logging.INFO, __file__, 0, text, None, None))
            return
    click.echo(text, err=True)


def _formatter(
    options: Mapping[str, Any], worker: int | str | None, *, colour: bool = False, level: bool = True
) -> logging.Formatter:
    zone = options["log_time"]
    if options["log_format"] == "json":
        return JSONFormatter(zone=zone, fields={} if worker is None else {"worker": worker})
    label = "" if worker is None else f"[{worker}] "
    if not level and options["access_log_format"] is not None:
        from fastws.cli.access_format import AccessFormatter

        return AccessFormatter(options["access_log_format"], zone)
    return TextFormatter(zone=zone, colour=colour, label=label, level=level)
