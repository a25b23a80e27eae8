"""Writing to a socket past its transport: the C functions, and when they may be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["direct_descriptor", "send_many", "send_one"]

send_one: Callable[[int, bytes], int] | None
send_many: Callable[[list[int], bytes], list[tuple[int, int]] | None] | None
try:
    from fastws._fanout import send_many, send_one
except ImportError:  # built without a C compiler: everything goes through transport.write
    send_one = send_many = None


def direct_descriptor(transport: Any) -> int:
    """Return the descriptor that may be written directly, or -1.

    Only plain TCP: under TLS the bytes need encryption first, and a transport that is not a
    socket's may keep an order of its own.
    """
    if send_one is None or transport.get_extra_info("ssl_object") is not None:
        return -1
    sock = transport.get_extra_info("socket")
    if sock is None:
        return -1
    fileno: int = sock.fileno()
    return fileno
