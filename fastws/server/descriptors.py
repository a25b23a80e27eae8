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
    "remove_own",
    "take_over",
]

#: Descriptors kept for what is no open connection: listeners, logs, files, clients that wait for a 503.
RESERVED_DESCRIPTORS = 96

#: Connections that plain asyncio may accept in one turn of the loop.
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
    return max(soft - RESERVED_DESCRIPTORS, soft // 2, 1)


def accepts_in_bulk(loop: asyncio.AbstractEventLoop) -> bool:
    """True when ``loop`` accepts all connections that wait, in one turn, before it makes a transport for any.

    Plain asyncio does. It can run out of descriptors before the server sees the first connection; then it
    calls its exception handler for each of the others, a thousand times a second.
    """
    return os.name == "posix" and isinstance(loop, asyncio.SelectorEventLoop)


def listen_again(sock: Any, backlog: int) -> None:
    """Let ``backlog`` connections wait at a socket that listens already. One in memory has no queue."""
    if hasattr(sock, "fileno"):
        with socket.socket(fileno=os.dup(sock.fileno())) as listening:
            listening.listen(backlog)


def is_socket(path: str) -> bool:
    """True when there is a Unix socket at ``path``; False for the abstract namespace, which has no files."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (FileNotFoundError, ValueError):
        return False


def inode(path: str) -> tuple[int, int, int] | None:
    """Return what tells the file at ``path`` from a later one of that name; None where there is no file.

    With the time of its making, which chmod and chown leave alone: the number of a file that was removed is
    given to the next one.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def remove_own(path: str, ours: tuple[int, int, int] | None) -> None:
    """Remove the file at ``path`` where it is still the one that :func:`inode` told of; never another's."""
    if ours is not None and inode(path) == ours:
        with contextlib.suppress(OSError):
            os.unlink(path)


def take_over(path: str) -> None:
    """Remove the Unix socket of a server that is gone. Raises ``OSError`` (EADDRINUSE) where one listens."""
    if not is_socket(path):
        return
    found = inode(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)  # a server whose queue is full listens too, and never answers
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, f"another server listens at {path}")
    # Not the socket of a server that has taken it over meanwhile: to bind there then fails.
    remove_own(path, found)
