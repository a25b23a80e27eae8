# cython: annotation_typing=False
"""Reads the head of a plain request to upgrade in one pass over its bytes, in C (``_heads.c``).

A request that comes from here has passed every check of the strict gate, of h11 and of ``check_upgrade``,
except that of its origin. For a head that is bad, incomplete or unusual the answer is None: the caller
then takes the slow path through those three, and they alone decide what is answered.

``FASTWS_ENGINE=wsproto`` asks for the engine in Python, so it switches this reader off too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastws.config import Limits
from fastws.protocol.http.messages import Offer, Request, vetted_upgrade

__all__ = ["read_upgrade"]

_Read = Callable[[bytes | memoryview, int, int, int, int], tuple[Any, ...] | None]


def _reader(engine: str | None) -> _Read | None:
    """The reader in C, or None: ``engine`` is not that in C, or the module was not built."""
    if engine != "wsproto":
        # Without it the slow path reads every head.
        with suppress(ImportError):
            from fastws.protocol.http import _heads

            return _heads.read_upgrade
    return None


_read = _reader(os.environ.get("FASTWS_ENGINE"))


def read_upgrade(data: bytes | memoryview, size: int, limits: Limits) -> Request | None:
    """Return the request with whose complete head the first ``size`` bytes of ``data`` begin.

    None means that the slow path has to read the head. No reference to ``data`` is kept. The bytes behind
    ``request.raw_head`` are early frames, which this function does not read.
    """
    if _read is None:
        return None
    found = _read(data, size, limits.max_head_size, limits.max_line_size, limits.max_headers)
    if found is None:
        return None
    raw_head, target, path, key, host, origin, extensions, subprotocols, forwarded = found
    offer = Offer(key, host, origin, extensions, subprotocols, forwarded)
    return vetted_upgrade(raw_head, target, path, offer)
