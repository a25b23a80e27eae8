"""SIGTERM for a command that has something to say of how far it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Terminated", "exit_code", "heeding_sigterm"]


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Have SIGTERM raise, as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that a signal has ended, as shells have it: 128 and its number."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
