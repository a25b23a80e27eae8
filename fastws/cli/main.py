"""The ``fastws`` command. Only the subcommand that is called is imported, so that each starts quickly."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from fastws._version import __version__
from fastws.cli.errors import EXIT_FAILED, os_error_text
from fastws.cli.output import NO_ROOM, is_broken, nowhere, say

__all__ = ["main"]


class LazyCommand(NamedTuple):
    """Where to import a subcommand from, and its line in ``fastws --help``, which imports none."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "serve": LazyCommand(
        "fastws.cli.serve", "serve", "Run the built-in application, or a handler of your own."
    ),
    "check": LazyCommand(
        "fastws.cli.check", "check", "Say which options are in force and from where, and whether they work."
    ),
    "connect": LazyCommand("fastws.cli.connect", "connect", "Talk to a WebSocket server from the terminal."),
    "publish": LazyCommand("fastws.cli.publish", "publish", "Publish messages to a running server."),
    "top": LazyCommand("fastws.cli.top", "top", "Show a running server: clients, rates, topics."),
    "ctl": LazyCommand("fastws.cli.ctl", "ctl", "Tell a running server to reload, drain or close a client."),
    "bench": LazyCommand("fastws.cli.bench", "bench", "Measure what a WebSocket server can hold."),
    "cert": LazyCommand(
        "fastws.cli.cert", "cert", "Make a local certificate authority and a server certificate."
    ),
}


#: Commands of two words.
SUBCOMMANDS = {
    ("bench", "merge"): LazyCommand(
        "fastws.cli.bench_merge", "merge", "Add up reports of several generators."
    ),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        return None if lazy is None else imported(lazy)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        lazy = SUBCOMMANDS.get((args[0], args[1])) if len(args) > 1 else None
        if lazy is None:
            return super().resolve_command(ctx, args)
        return " ".join(args[:2]), imported(lazy), args[2:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])


def imported(lazy: LazyCommand) -> click.Command:
    """Import a command."""
    command = getattr(importlib.import_module(lazy.module), lazy.attribute)
    assert isinstance(command, click.Command)
    return command


def print_version(ctx: click.Context, param: click.Parameter, wanted: object) -> None:
    """The callback of ``--version``."""
    if not wanted or ctx.resilient_parsing:
        return
    from fastws.cli.build import build_text

    click.echo(f"fastws {__version__} ({build_text()})")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`fastws COMMAND --help` shows the options of a command.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version, the engine, the build of the hot path and the event loop, and exit.",
)
def fastws() -> None:
    """A WebSocket server and client for asyncio.

    `fastws serve` runs an echo server and a chat room with their pages on http://127.0.0.1:8080.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Errors of the user become one line on stderr.

    So does an output that cannot be written.
    """
    try:
        result = fastws.main(args, prog_name="fastws", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        say(describe(error))
        return error.exit_code
    except click.Abort:
        return 130  # 128 + SIGINT: interrupted before a server or a connection was there to stop
    except OSError as error:
        if error.errno not in (*NO_ROOM, errno.EPIPE) or not is_broken(sys.stdout):
            raise
        sys.stdout = nowhere()
        if error.errno != errno.EPIPE:
            say(f"fastws: the output cannot be written: {os_error_text(error)}")
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def describe(error: click.ClickException) -> str:
    """The error in one line, which begins with the command."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fastws"
    message = " ".join(error.format_message().split())
    return f"{command}: {message}{from_environment(error)}"


def from_environment(error: click.ClickException) -> str:
    """Name where a wrong value stands that is none of the command line: a variable, or a line of a file."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    from fastws.cli.sources import COMMAND_LINE, DEFAULT, source_of

    place = source_of(error.ctx, error.param)
    return "" if place in (COMMAND_LINE, DEFAULT) else f" (from {place})"
