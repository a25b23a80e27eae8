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

__all__ = ["progress_mark", "window_seconds"]

#: Where ``tcpi_bytes_acked``, 64 bits, stands in the ``tcp_info`` of Linux; 0: this system has none.
BYTES_ACKED_OFFSET = 120 if hasattr(socket, "TCP_INFO") else 0
BYTES_ACKED_END = BYTES_ACKED_OFFSET + 8
#: ``tcpi_retransmits`` and ``tcpi_probes``, 8 bits each: what was sent again and again, and questions to a
#: closed window, without an answer. A living peer answers at once.
RETRANSMITS_OFFSET = 2
PROBES_OFFSET = 3
MAX_UNANSWERED = 2
#: ``tcpi_notsent_bytes``, 32 bits: what waits for the window.
NOTSENT_OFFSET = 144
TCP_INFO_END = NOTSENT_OFFSET + 4
#: Bytes a second. A peer that reads what its kernel holds more slowly may look like one that reads nothing.
SLOW_READER_RATE = 50_000
#: Bytes. Buffers that have not grown beyond this open their window in steps that need no more time.
SMALL_BUFFER_BYTES = 512 * 1024


def progress_mark(transport: Any) -> int:
    """Return a number that is another one as soon as the peer has taken bytes that wait for it.

    For TCP, with and without TLS, it is how many bytes the peer's kernel has acknowledged. The transport's
    own buffer moves only when much of the kernel's buffer is free again, which takes a slow reader far
    longer than any write limit. For Unix sockets it is what the transport and the kernel hold; where the
    kernel cannot be asked, what the transport holds.

    A peer whose window is closed opens it in steps; see :func:`window_seconds`.
    """
    sock = transport.get_extra_info("socket")
    held: int = transport.get_write_buffer_size()
    family = getattr(sock, "family", None)
    try:
        if (info := _tcp_info(sock, BYTES_ACKED_END)) is not None:
            (acknowledged,) = struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)
            return int(acknowledged)
        if family is not None and family == getattr(socket, "AF_UNIX", None) and TIOCOUTQ:
            (unread,) = struct.unpack("=i", ioctl(sock.fileno(), TIOCOUTQ, bytes(4)))
            return held + int(unread)
    except (OSError, ValueError):  # the socket is closed already, or does not know the question
        pass
    return held


def window_seconds(transport: Any) -> float:
    """Return how long the mark of a peer that reads may stand still; 0.0: its window is not the reason.

    The peer's kernel, or a proxy's, may hold all that it has acknowledged. It opens a closed window in steps:
    64 KiB for small buffers, half of a buffer that has grown to megabytes, and a proxy's buffer is as large.
    A reader looks like one that reads nothing until the step is done. But bytes wait here, and its kernel is
    alive: it answers our probes of the window (RFC 9293, section 3.8.6.1).
    """
    try:
        info = _tcp_info(transport.get_extra_info("socket"), TCP_INFO_END)
    except (OSError, ValueError):
        return 0.0
    if info is None or max(info[RETRANSMITS_OFFSET], info[PROBES_OFFSET]) > MAX_UNANSWERED:
        return 0.0
    (acknowledged,) = struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)
    (waiting,) = struct.unpack_from("=I", info, NOTSENT_OFFSET)
    return max(float(acknowledged) - SMALL_BUFFER_BYTES, 1.0) / SLOW_READER_RATE if waiting else 0.0


def _tcp_info(sock: Any, size: int) -> bytes | None:
    """Return the first ``size`` bytes of a TCP socket's ``tcp_info``; None where there are not so many."""
    if getattr(sock, "family", None) not in (socket.AF_INET, socket.AF_INET6) or not BYTES_ACKED_OFFSET:
        return None
    info: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    return info if len(info) == size else None
