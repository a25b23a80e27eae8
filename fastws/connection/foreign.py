"""What sends to clients whose sockets are not ours: of other frameworks, and of server-sent events."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

__all__ = ["SINKS"]

#: Those that are alive, of all loops: each has a ``loop``, an ``outbox``, and ``evict``.
SINKS: WeakSet[Any] = WeakSet()
