"""What a node has published to plain topics and its broker has not taken: bounded, in order, sent again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator

__all__ = ["MAX_WAITING_BYTES", "SETTLE_SECONDS", "Outbox", "Waiting"]

log = logging.getLogger("fastws.error")

#: So much waits for a broker that is away. Beyond it the oldest is dropped, and told.
MAX_WAITING_BYTES = 8 * 1024 * 1024
#: Seconds after an outage for which everything waits that is published: other nodes should come back within
#: them, hear again, and read what is kept. A node tries at least four times a second, and connects in a few
#: milliseconds.
SETTLE_SECONDS = 0.5


class Waiting:
    """One blob."""

    __slots__ = ("blob", "is_dropped", "name")

    def __init__(self, name: str, blob: bytes) -> None:
        self.name = name
        self.blob = blob
        #: It has been dropped meanwhile: an answer to it means nothing.
        self.is_dropped = False


class Outbox:
    """The blobs in the order of the calls.

    Args:
        dropped: Called with the name of a topic of which the oldest blob was dropped.
        max_bytes: How much may wait.
    """

    def __init__(self, dropped: Callable[[str], None], max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._dropped = dropped
        self._max_bytes = max_bytes
        self._waiting: deque[Waiting] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, name: str, blob: bytes) -> Waiting:
        """Let a blob wait until it is taken."""
        one = Waiting(name, blob)
        self._waiting.append(one)
        self.size += len(blob)
        while self.size > self._max_bytes and len(self._waiting) > 1:
            oldest = self._waiting[0]
            self._remove()
            oldest.is_dropped = True
            oldest.blob = b""  # whoever still has it has no memory of it
            self._dropped(oldest.name)
        return one

    def taken(self, one: Waiting) -> None:
        """The broker has taken a blob, and with it all before."""
        while not one.is_dropped and self._waiting:
            first = self._waiting[0]
            self._remove()
            if first is one:
                return

    def end(self, label: str) -> None:
        """Say what was not taken by a broker, and let go of it."""
        if self._waiting:
            log.error("broker %s: %d bytes were not taken at the end", label, self.size)
            self._waiting.clear()
            self.size = 0

    def _remove(self) -> None:
        self.size -= len(self._waiting.popleft().blob)
