"""Where the value of an option comes from."""

from __future__ import annotations

import os

import click
from click.core import ParameterSource

from fastws.cli.config_option import config_of

__all__ = ["COMMAND_LINE", "DEFAULT", "source_of"]

COMMAND_LINE = "the command line"
DEFAULT = "the default"


def source_of(ctx: click.Context, param: click.Parameter) -> str:
    """Return in words where a parameter of a command has its value from."""
    name = param.name or ""
    source = ctx.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return COMMAND_LINE
    if source is ParameterSource.ENVIRONMENT:
        variables = param.envvar or f"{ctx.auto_envvar_prefix}_{name.upper()}"
        variables = [variables] if isinstance(variables, str) else variables
        variable = next((each for each in variables if os.environ.get(each)), variables[0])
        return f"{variable} in the environment"
    if source is ParameterSource.DEFAULT_MAP and (config := config_of(ctx)) is not None:
        return config.places.get(name, config.path)
    return DEFAULT
