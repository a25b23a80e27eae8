"""The options of ``fastws serve`` for several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from fastws.cli.options import WORKERS, option

__all__ = ["worker_options"]

OPTIONS = [
    option(
        "--workers",
        section="Workers",
        type=WORKERS,
        envvar=["FASTWS_WORKERS", "WEB_CONCURRENCY"],
        default=1,
        help="Processes that serve together; auto: one for each core.",
    ),
    option(
        "--reload",
        section="Workers",
        is_flag=True,
        help="Start the application again when a Python file of --app-dir changes; for development.",
    ),
    option(
        "--timeout-worker",
        section="Workers",
        type=click.FloatRange(2),
        metavar="SECONDS",
        default=30.0,
        help="End a worker that gives no sign of life for so long.",
    ),
    option(
        "--timeout-drain",
        section="Workers",
        type=click.FloatRange(0),
        metavar="SECONDS",
        default=30.0,
        help="Time over which a worker that leaves spreads the closes of its WebSockets.",
    ),
    option(
        "--max-lifetime",
        section="Workers",
        type=click.FloatRange(1),
        metavar="SECONDS",
        help="Replace a worker after so long, less up to a fifth.",
    ),
    option(
        "--limit-max-messages",
        section="Workers",
        type=click.IntRange(1),
        metavar="N",
        help="Replace a worker that has received so many messages, less up to a fifth.",
    ),
    option(
        "--worker-max-rss",
        section="Workers",
        type=click.IntRange(1),
        metavar="BYTES",
        help="Replace a worker that holds more memory; end it at once at half as much again.",
    ),
]


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all these options to a command."""
    for add in reversed(OPTIONS):
        command = add(command)
    return command
