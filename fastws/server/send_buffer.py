"""How much the kernel takes for a client before its socket refuses bytes."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

__all__ = ["FRESH", "SendBuffer", "check_send_buffer"]

#: Linux has had it since 3.12; a Python may have been built without its name.
NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)


def check_send_buffer(unsent: int | None) -> None:
    """Raise ``ValueError`` where ``TCP_NOTSENT_LOWAT`` is wanted of a system that has none."""
    if unsent is not None and NOTSENT_LOWAT is None:
        raise ValueError("notsent_lowat: this system has no TCP_NOTSENT_LOWAT")


class SendBuffer:
    """The options of each accepted socket: ``SO_SNDBUF`` and ``TCP_NOTSENT_LOWAT``.

    They are set on the accepted socket and not on the one that listens: a Unix socket inherits neither, and
    a socket that came open from elsewhere may have clients already.

    Args:
        size: bytes for ``SO_SNDBUF``; None leaves it to the kernel.
        unsent: bytes for ``TCP_NOTSENT_LOWAT``; None leaves it to the kernel. Unix sockets have none.
    """

    __slots__ = ("_size", "_unsent")

    def __init__(self, size: int | None, unsent: int | None) -> None:
        self._size = size
        self._unsent = unsent

    def limit(self, transport: Any) -> None:
        """Set both for the socket of a transport. One in memory has no such options."""
        sock = transport.get_extra_info("socket")
        if not hasattr(sock, "setsockopt"):
            return
        with contextlib.suppress(OSError):  # the client has gone already
            if self._size is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._size)
            is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
            if self._unsent is not None and is_tcp and NOTSENT_LOWAT is not None:
                sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, self._unsent)


#: For a client that follows what newer values replace, where no setting says otherwise. Not for everybody: of
#: messages of 200 bytes the kernel took 20,800 for a client that did not read, and with this 190. Where they
#: wait in a queue, or in a history that ends, that client is evicted or has a gap so much earlier.
FRESH = SendBuffer(None, 16 * 1024)
