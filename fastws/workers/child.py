"""A process that the supervisor starts, with a control pair to it."""

from __future__ import annotations

import os
import socket
import subprocess

from fastws._version import child_command
from fastws.workers.control import Channel

__all__ = ["start_child"]


def start_child(module: str) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start a program that runs ``module``, which gets the descriptor of its control pair as an argument.

    Returns:
        The process, and our end of the pair.

    Raises:
        OSError: No process can be started.
    """
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            child_command(module, str(theirs.fileno())),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # Ctrl-C is for the supervisor, which tells the others.
            process_group=0,
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, Channel(ours)
