"""Errors of the command line: one line on stderr, and an exit code for scripts.

2 (usage): the command line is wrong on all machines: an unknown option, port 99999.
3 (cannot start): it is correct, but this machine cannot do it now: no such file, a busy port.
1 (failed): ``fastws connect`` could not connect, or its connection broke; ``fastws bench`` lost clients.
"""

from __future__ import annotations

import click

__all__ = ["EXIT_CANNOT_START", "EXIT_FAILED", "EXIT_USAGE", "CannotStart", "os_error_text"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANNOT_START = 3


class CannotStart(click.ClickException):
    """The command line is correct, but the program cannot start."""

    exit_code = EXIT_CANNOT_START

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.ctx = click.get_current_context(silent=True)


def os_error_text(error: OSError) -> str:
    """The system's message for an error, without errno and path."""
    return error.strerror or str(error) or type(error).__name__
