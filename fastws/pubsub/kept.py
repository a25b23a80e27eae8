"""The hubs of this process, and what their topics keep: histories, and the values of keys."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

__all__ = ["HUBS", "kept_bytes", "live_on"]

#: The hubs that are alive.
HUBS: WeakSet[Any] = WeakSet()


def kept_bytes() -> int:
    """Return the bytes of all messages and values that topics keep, of every hub of this process."""
    return sum(hub.kept_bytes() for hub in list(HUBS))


def live_on(loop: asyncio.AbstractEventLoop) -> None:
    """Let every hub that knows no loop yet know one, on which a server begins."""
    for hub in list(HUBS):
        hub._live_on(loop)
