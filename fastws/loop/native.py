"""Reading and writing sockets directly, not by their transports: the C functions, and when to use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = [
    "SLOTS",
    "Item",
    "direct_descriptor",
    "is_item",
    "receive_many",
    "send_items",
    "send_many",
    "write_at_once",
]

#: One thing to write: a message that needs a header only (ASCII ``str``, ``bytes``); a frame, as a tuple of
#: one; or such a message and the key that masks it (RFC 6455, section 5.3).
Item = str | bytes | tuple[bytes] | tuple[str | bytes, bytes]

send_items: Callable[[int, Item | list[Item]], int | tuple[int, int, bytes | memoryview]] | None
send_many: Callable[[list[int], bytes], list[tuple[int, int]] | None] | None
#: True for a message that needs a header only: ``bytes``, or a ``str`` of ASCII.
is_item: Callable[[str | bytes], bool]
try:
    from fastws.loop._send import is_item, send_items, send_many
except ImportError:  # built without a C compiler: everything goes through transport.write
    send_items = send_many = None
    is_item = bool

receive_many: Callable[[int, memoryview], list[int]] | None
try:
    from fastws.loop._recv import SLOTS, receive_many
except ImportError:  # the same, or a system without epoll: transports read
    SLOTS, receive_many = 1, None


def direct_descriptor(transport: Any) -> int:
    """Return the descriptor of ``transport`` if its socket may be written directly, else -1.

    Only for sockets without TLS: under TLS bytes have to be encrypted first, and a transport without a socket
    may keep an order of its own.
    """
    if send_items is None or transport.get_extra_info("ssl_object") is not None:
        return -1
    sock = transport.get_extra_info("socket")
    if sock is None:
        return -1
    fileno: int = sock.fileno()
    return fileno


def write_at_once(transport: Any, descriptor: int, data: bytes) -> None:
    """Write as ``transport.write`` does, but in this turn of the loop: that of uvloop waits for the next one.

    ``descriptor`` is what :func:`direct_descriptor` has returned for the transport.
    """
    rest: bytes | memoryview = data
    # What waits comes first; and the descriptor of a transport that closes may be that of another socket.
    if descriptor >= 0 and not transport.get_write_buffer_size() and not transport.is_closing():
        assert send_items is not None
        sent = send_items(descriptor, (data,))
        if isinstance(sent, int):
            return
        _, taken, left = sent
        if taken > 0:  # else it cannot be written, and the transport finds out why
            rest = left
    transport.write(rest)
