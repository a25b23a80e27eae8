# cython: annotation_typing=False
"""A request to upgrade, read in one pass where the C engine runs (``_heads.c``).

What this gives has passed all that the gate, h11 and ``check_upgrade`` ask, but for the origin.
Everything that is bad, unfinished or unusual is None here and goes through those, which alone decide
what is answered. Chosen with the engine of frames (``FASTWS_ENGINE``): wsproto's has no such reader.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastws.config import Limits
from fastws.protocol.http.messages import Offer, Request, vetted_upgrade
from fastws.protocol.websocket.frames import ENGINE

__all__ = ["read_upgrade"]

_Read = Callable[[bytes | memoryview, int, int, int, int], tuple[Any, ...] | None]


def _reader(engine: str) -> _Read | None:
    if engine == "c":
        # Without it nothing is missing but speed.
        with suppress(ImportError):
            from fastws.protocol.http import _heads

            return _heads.read_upgrade
    return None


_read = _reader(ENGINE)


def read_upgrade(data: bytes | memoryview, size: int, limits: Limits) -> Request | None:
    """Return the request whose whole head begins the first ``size`` bytes; None: look more closely.

    No reference to ``data`` is kept. The bytes behind ``request.raw_head`` are not looked at.
    """
    if _read is None:
        return None
    found = _read(data, size, limits.max_head_size, limits.max_line_size, limits.max_headers)
    if found is None:
        return None
    raw_head, target, path, key, host, origin, extensions, subprotocols, forwarded = found
    offer = Offer(key, host, origin, extensions, subprotocols, forwarded)
    return vetted_upgrade(raw_head, target, path, offer)
