"""What the topics of this process keep: histories, and the values of keys."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

__all__ = ["HUBS", "kept_bytes"]

#: The hubs that are alive.
HUBS: WeakSet[Any] = WeakSet()


def kept_bytes() -> int:
    """Return the bytes of all messages and values that topics keep, of every hub of this process."""
    return sum(hub.kept_bytes() for hub in list(HUBS))
