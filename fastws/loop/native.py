"""Reading and writing a socket past its transport: the C functions, and when they may be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["SLOTS", "Item", "direct_descriptor", "is_item", "receive_many", "send_items", "send_many"]

#: What one connection says: a message that nothing needs to be done to (ASCII ``str``, ``bytes``), a
#: tuple of one with a frame made before, or such a message and the key that it has to be masked with.
Item = str | bytes | tuple[bytes] | tuple[str | bytes, bytes]

send_items: Callable[[int, Item | list[Item]], int | tuple[int, int, bytes | memoryview]] | None
send_many: Callable[[list[int], bytes], list[tuple[int, int]] | None] | None
#: True for what needs no more than a header: bytes, and a ``str`` of ASCII.
is_item: Callable[[str | bytes], bool]
try:
    from fastws.loop._send import is_item, send_items, send_many
except ImportError:  # built without a C compiler: everything goes through transport.write, nobody asks
    send_items = send_many = None
    is_item = bool

receive_many: Callable[[int, memoryview], list[int]] | None
try:
    from fastws.loop._recv import SLOTS, receive_many
except ImportError:  # the same, or no epoll on this system: transports read
    SLOTS, receive_many = 1, None


def direct_descriptor(transport: Any) -> int:
    """Return the descriptor that may be written directly, or -1.

    Only plain TCP: under TLS the bytes need encryption first, and a transport that is not a
    socket's may keep an order of its own.
    """
    if send_items is None or transport.get_extra_info("ssl_object") is not None:
        return -1
    sock = transport.get_extra_info("socket")
    if sock is None:
        return -1
    fileno: int = sock.fileno()
    return fileno
