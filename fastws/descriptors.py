"""File descriptors: how many connections fit, and accepting without running out of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = ["ACCEPTS", "accepts_in_bulk", "connections_that_fit", "listen_again"]

#: Descriptors kept for what is no connection to serve: listeners, logs, files, who is answered 503.
RESERVE = 96

#: Connections that plain asyncio accepts in one turn.
ACCEPTS = 16


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
