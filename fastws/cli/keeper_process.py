"""What the process of the keeper runs: no code of the application, and no server.

It imports little: while there is no keeper, messages wait.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

from fastws.cli import logs
from fastws.loop.event_loops import loop_factory
from fastws.meters.board import Board
from fastws.meters.meters import begin_measuring
from fastws.workers.control import Channel
from fastws.workers.keeper import run_keeper
from fastws.workers.orphans import end_with_parent
from fastws.workers.states import KEEPER_ROW

__all__ = ["main"]


def main() -> int:
    """Keep histories, by the control pair whose descriptor is the first argument."""
    # It ends after the workers, which are told by the supervisor.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    end_with_parent(channel)
    hello = channel.wait()
    if hello is None:
        return 1
    options = hello.values["options"]
    if hello.fds:
        begin_measuring(Board.attach(hello.fds.pop()), KEEPER_ROW)
    logs.configure({**options, "access_log": False}, worker="keeper")
    with asyncio.Runner(loop_factory=loop_factory(options["loop"])) as runner:
        runner.run(run_keeper(channel, hello))
    return 0


if __name__ == "__main__":
    sys.exit(main())
