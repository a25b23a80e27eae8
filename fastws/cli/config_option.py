"""``--config FILE``: a file has what neither the command line nor the environment says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fastws.cli.options import option

if TYPE_CHECKING:
    from fastws.cli.config_file import ConfigFile

__all__ = ["config_of", "config_option", "tables_of"]

#: The key of a context that has read a file.
FOUND = "fastws.config"


def _read(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """The callback of ``--config``: click asks its map of defaults behind the environment."""
    if path == "" and ctx.get_parameter_source("config") is ParameterSource.COMMANDLINE:
        # Where a script's variable is empty, the server would have none of its options.
        raise click.UsageError("--config names no file")
    if path and not ctx.resilient_parsing:
        from fastws.cli.config_file import read_config

        found = read_config(path, ctx)
        ctx.meta[FOUND] = found
        ctx.default_map = found.options
    return path


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` to a command."""
    add: Callable[..., Any] = option(
        "--config",
        section="Configuration",
        metavar="FILE",
        is_eager=True,
        callback=_read,
        help="Read options from a TOML file, by their names without dashes in front; the environment and the "
        "command line win over it. It may have tables for listeners, routes and topics.",
    )
    return add(command)  # type: ignore[no-any-return]


def config_of(ctx: click.Context) -> ConfigFile | None:
    """Return the file that a command has read."""
    found: ConfigFile | None = ctx.meta.get(FOUND)
    return found


def tables_of(ctx: click.Context) -> dict[str, Any]:
    """Return the tables of that file, as JSON can carry them to workers; without a file empty ones."""
    found = config_of(ctx)
    return {"listeners": [], "routes": {}, "topics": {}} if found is None else found.tables
