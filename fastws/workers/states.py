"""A worker as the supervisor sees it, the rules for all of them, and what the pool may ask for."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

__all__ = [
    "EXIT_CANNOT_START",
    "KEEPER_ROW",
    "MAX_WORKERS",
    "ROWS",
    "Actions",
    "Failure",
    "Phase",
    "Rules",
    "State",
    "Worker",
    "ended_text",
    "failure_of",
]

#: Each worker has a socket pair with each other one.
MAX_WORKERS = 64
#: Of the page and board that all share: for each worker, the successor of each in a reload, and the keeper.
ROWS = 2 * MAX_WORKERS + 2
KEEPER_ROW = ROWS - 1
#: The exit code of a command that is right and cannot start (fastws/cli/errors.py).
EXIT_CANNOT_START = 3


class State(Enum):
    """Where one worker is."""

    STARTING = "it imports the application"
    READY = "it serves"
    LEAVING = "it accepts nobody and closes its connections"


class Phase(Enum):
    """Where all of them are."""

    STARTING = "not all of the first workers are ready"
    RUNNING = "the server is up"
    STOPPING = "all workers leave"
    ENDED = "no worker is left"


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings, in seconds, bytes and messages; None switches a rule off."""

    hang_timeout: float = 30.0
    drain: float = 30.0
    grace: float = 10.0
    max_lifetime: float | None = None
    max_messages: int | None = None
    max_rss: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker could not start: one line, and the exit code of the command."""

    text: str
    code: int = EXIT_CANNOT_START


@dataclass(slots=True, eq=False)
class Worker:
    """One process. Its ``id`` is never used again; its ``row`` is, as soon as it is gone."""

    id: int
    row: int
    started: float
    state: State = State.STARTING
    pid: int = 0
    last_beat: float = 0.0
    #: The worker that leaves when this one is ready.
    predecessor: Worker | None = None
    failure: Failure | None = None
    retires_at: float | None = None
    max_messages: int | None = None
    #: What the workers of its row had received before it began.
    messages_before: int = 0
    #: When it is ended, whatever it does.
    kill_at: float | None = None
    next_notice: float = 0.0
    is_killed: bool = False

    def __str__(self) -> str:
        return f"worker {self.id} (pid {self.pid})"


class Actions(Protocol):
    """What the pool asks for."""

    def launch(self, worker: Worker) -> None:
        """Start a process for ``worker`` and set its pid."""

    def tell(self, worker: Worker, kind: str, /, **values: Any) -> None:
        """Send a message."""

    def end(self, worker: Worker, *, at_once: bool) -> None:
        """Send SIGKILL, or SIGTERM to one that has no loop yet."""

    def say(self, level: str, text: str) -> None:
        """Write a line to the log."""

    def serving(self) -> None:
        """All of the first workers are ready."""

    def reloading(self) -> None:
        """A reload begins."""

    def reloaded(self) -> None:
        """A reload has ended, well or not."""


def failure_of(worker: Worker, ended: str) -> Failure:
    """Why a worker has not become ready: as it said itself, or how it ended."""
    return worker.failure or Failure(f"worker {worker.id} {ended} before it was ready")


def ended_text(status: int) -> str:
    """In words: how a process has ended. ``status`` is as ``Popen.returncode``."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
