"""Whether a peer takes what is written to it, as the kernel sees it."""

from __future__ import annotations

import socket
import struct
from typing import Any

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows, which has no such question either
    TIOCOUTQ = 0  # type: ignore[misc]

__all__ = ["progress_mark"]

#: Where ``tcpi_bytes_acked``, 64 bits, stands in the ``tcp_info`` of Linux; 0: this system has none.
BYTES_ACKED_OFFSET = 120 if hasattr(socket, "TCP_INFO") else 0
BYTES_ACKED_END = BYTES_ACKED_OFFSET + 8


def progress_mark(transport: Any) -> int:
    """Return a number that is another one as soon as the peer has taken bytes that wait for it.

    For TCP, with and without TLS, it is how many bytes the peer's kernel has acknowledged. The transport's
    own buffer moves only when much of the kernel's buffer is free again, which takes a slow reader far
    longer than any write limit. For Unix sockets it is what the transport and the kernel hold; where the
    kernel cannot be asked, what the transport holds.

    A peer whose window is closed opens it in steps of some 64 KiB, so a reader that is slower than one step
    in a write limit looks as if it took nothing.
    """
    sock = transport.get_extra_info("socket")
    held: int = transport.get_write_buffer_size()
    family = getattr(sock, "family", None)
    try:
        if family in (socket.AF_INET, socket.AF_INET6) and BYTES_ACKED_OFFSET:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED_END)
            if len(info) == BYTES_ACKED_END:
                (acknowledged,) = struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)
                return int(acknowledged)
        elif family is not None and family == getattr(socket, "AF_UNIX", None) and TIOCOUTQ:
            (unread,) = struct.unpack("=i", ioctl(sock.fileno(), TIOCOUTQ, bytes(4)))
            return held + int(unread)
    except (OSError, ValueError):  # the socket is closed already, or does not know the question
        pass
    return held
