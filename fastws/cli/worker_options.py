"""The options of ``fastws serve`` for several processes."""

from __future__ import annotations

from typing import Any

import click

from fastws.cli.options import WORKERS, Seconds, adds, option

__all__ = ["worker_options", "without_effect"]

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
        type=Seconds(2),
        metavar="SECONDS",
        default=30.0,
        help="End a worker that gives no sign of life for so long.",
    ),
    option(
        "--timeout-drain",
        section="Workers",
        type=Seconds(0),
        metavar="SECONDS",
        default=30.0,
        help="Time over which a worker that leaves spreads the closes of its WebSockets.",
    ),
    option(
        "--max-lifetime",
        section="Workers",
        type=Seconds(1),
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


#: What a supervisor does: a single process has none.
REPLACING = ("max_lifetime", "limit_max_messages", "worker_max_rss")


def without_effect(options: dict[str, Any]) -> list[str]:
    """The options given that a single process does not follow."""
    return ["--" + name.replace("_", "-") for name in REPLACING if options[name] is not None]


worker_options = adds(OPTIONS)
