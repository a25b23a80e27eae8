"""``fastws ctl``: tell a running server what to do, over its control socket."""

from __future__ import annotations

from typing import Any

import click

from fastws.cli.control_client import Control
from fastws.cli.logs import LEVELS
from fastws.cli.options import Command, option

__all__ = ["ctl"]

#: What each action is called on the wire, and the name of its value.
ACTIONS: dict[str, tuple[str, str | None]] = {
    "reload": ("reload", None),
    "drain": ("drain", None),
    "close": ("close", "id"),
    "log-level": ("log_level", "level"),
}


@click.command(cls=Command, context_settings={"auto_envvar_prefix": "FASTWS", "show_default": True})
@click.argument("action", type=click.Choice(list(ACTIONS)))
@click.argument("value", required=False)
@option(
    "--control",
    section="Server",
    metavar="PATH",
    required=True,
    help="The socket that `serve --control` has.",
)
def ctl(action: str, value: str | None, control: str) -> int:
    """Tell a running server what to do.

    \b
    reload            replace all workers, one after the other, as SIGHUP
    drain             accept nobody, close all WebSockets over a time, and end, as SIGTERM
    close ID          close one connection with 1008; `fastws top` shows its ID
    log-level LEVEL   of all processes, until they end
    """
    word, name = ACTIONS[action]
    if (name is None) != (value is None):
        raise click.UsageError(f"{action} takes {'no value' if name is None else name.upper()}")
    if word == "log_level" and value not in LEVELS:
        raise click.UsageError(f"{value!r} is none of {', '.join(LEVELS)}")
    values: dict[str, Any] = {} if name is None else {name: value}
    with Control(control) as line:
        click.echo(line.ask(word, **values))
    return 0
