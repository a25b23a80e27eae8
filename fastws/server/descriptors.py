"""File descriptors: how many connections fit, accepting without running out of them, Unix sockets' files."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from typing import Any

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = [
    "ACCEPTS_PER_TURN",
    "accepts_in_bulk",
    "connections_that_fit",
    "inode",
    "is_socket",
    "listen_again",
    "take_over",
]

#: Descriptors kept for what is no connection to serve: listeners, logs, files, who is answered 503.
RESERVE = 96

#: Connections that plain asyncio accepts in one turn.
ACCEPTS_PER_TURN = 16


def connections_that_fit() -> int | None:
    """Let the process open all files that it may, and return how many connections that is room for.

    None where nothing limits them. For a program of its own: it raises the soft limit of the process.
    """
    if resource is None:
        return None  # type: ignore[unreachable]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # where the system's own limit is lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return None
    return max(soft - RESERVE, soft // 2, 1)


def accepts_in_bulk(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` accepts as many connections in one turn as may wait, before it makes any.

    Plain asyncio does: it can be out of descriptors before the first connection is looked at, and then
    calls its exception handler for each of the others, a thousand times a second.
    """
    return os.name == "posix" and isinstance(loop, asyncio.SelectorEventLoop)


def listen_again(sock: Any, backlog: int) -> None:
    """Let ``backlog`` connections wait at a socket that listens already; one in memory has no kernel's."""
    if hasattr(sock, "fileno"):
        with socket.socket(fileno=os.dup(sock.fileno())) as listening:
            listening.listen(backlog)


def is_socket(path: str) -> bool:
    """Whether there is a Unix socket at ``path``; one of the abstract namespace never is."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (FileNotFoundError, ValueError):
        return False


def inode(path: str) -> tuple[int, int] | None:
    """What tells the file at ``path`` from a later one of that name; None where there is none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, ValueError):
        return None
    return status.st_dev, status.st_ino


def take_over(path: str) -> None:
    """Remove the Unix socket of a server that is gone. Raises ``OSError`` (EADDRINUSE) where one listens."""
    if not is_socket(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one whose queue is full listens too
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, f"another server listens at {path}")
    os.unlink(path)
