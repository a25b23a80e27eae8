"""Where the value of an option comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click
from click.core import ParameterSource

from fastws.cli.config_option import config_of

__all__ = ["COMMAND_LINE", "DEFAULT", "mistyped_variables", "source_of"]

COMMAND_LINE = "the command line"
DEFAULT = "the default"
#: Environment variables of ours that are no options of ``fastws serve``.
OTHER_VARIABLES = ("FASTWS_COMPILED", "FASTWS_DOCUMENTS", "FASTWS_ENGINE")


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


def mistyped_variables(ctx: click.Context) -> Iterator[str]:
    """Yield what is wrong with variables of the environment whose names nearly are those of options."""
    prefix = f"{ctx.auto_envvar_prefix}_"
    known = {f"{prefix}{(param.name or '').upper()}" for param in ctx.command.params}
    for name in sorted(os.environ):
        if name.startswith(prefix) and name not in known and name not in OTHER_VARIABLES:
            from fastws.cli.config_file import suggestion  # not above: it is for who has made a mistake

            if close := suggestion(name, known):
                yield f"{name} in the environment is no option{close}"
