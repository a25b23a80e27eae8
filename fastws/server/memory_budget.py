"""A budget for what waits for clients and what topics keep: over it, the clients with most are evicted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastws.pubsub.kept import kept_bytes

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.connection.outbox import Outbox
    from fastws.connection.publication import Publication

__all__ = ["MemoryBudget"]

log = logging.getLogger("fastws.error")

#: Seconds between two looks; and at least so many times what a look takes.
LOOK_SECONDS = 0.25
LOOK_COST_FACTOR = 100
#: Seconds between two lines of the log.
LOG_INTERVAL = 60.0


class Waiting:
    """What waits for the clients: bytes of their own, and publications, which several may wait for."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        #: Of each client what waits for it, the largest first.
        self.clients: list[tuple[int, Connection]] = []
        self._holders: Counter[Publication] = Counter()
        self.size = 0
        for connection in connections:
            if connection.ws is not None and connection.outbox.is_open and _holds(connection.outbox):
                self._add(connection)
        self.clients.sort(key=lambda client: -client[0])

    def _add(self, connection: Connection) -> None:
        outbox = connection.outbox
        published = outbox.publications()
        self.clients.append((outbox.buffered_amount, connection))
        self.size += outbox.buffered_amount - sum(each.size for each in published)
        for each in published:
            if not self._holders[each]:
                self.size += each.size
            self._holders[each] += 1

    def evict(self, connection: Connection) -> None:
        """Close a client, and count no more what waited only for it."""
        outbox = connection.outbox
        published = outbox.publications()
        self.size -= outbox.buffered_amount - sum(each.size for each in published)
        for each in published:
            self._holders[each] -= 1
            if not self._holders[each]:
                self.size -= each.size
        connection.evict("memory budget")


class MemoryBudget:
    """Looks now and then; nothing is counted for each message.

    Args:
        budget: bytes that all of it may have.
        connections: those of the server, which changes them.
    """

    def __init__(self, budget: int, connections: Iterable[Connection]) -> None:
        self._budget = budget
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next_line = 0.0
        #: Evicted since the last line of the log, and the most that one of them had.
        self._evicted = 0
        self._most = 0

    def begin(self) -> None:
        """Look from now on. Twice does no harm."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look_again)

    def end(self) -> None:
        """Look no more. Twice does no harm."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look_again(self) -> None:
        began = time.perf_counter()
        try:
            self.look()
        finally:
            seconds = max(LOOK_SECONDS, LOOK_COST_FACTOR * (time.perf_counter() - began))
            self._timer = self._loop.call_later(seconds, self._look_again)

    def look(self) -> None:
        """Evict clients while there is too much, the one for which most waits first."""
        kept = kept_bytes()
        most = sum(each.outbox.buffered_amount for each in self._connections if _holds(each.outbox))
        if kept + most <= self._budget:
            self._tell(kept, 0)
            return
        # A message that waits for many is there once: that was only the most that it may be.
        waiting = Waiting(self._connections)
        for size, connection in waiting.clients:
            if kept + waiting.size <= self._budget:
                break
            waiting.evict(connection)
            self._evicted += 1
            self._most = max(self._most, size)
        self._tell(kept, kept + waiting.size)

    def _tell(self, kept: int, left: int) -> None:
        now = self._loop.time()
        if now < self._next_line or (not self._evicted and left <= self._budget):
            return
        self._next_line = now + LOG_INTERVAL
        evicted, self._evicted = self._evicted, 0
        most, self._most = self._most, 0
        text = "over the memory budget of %d bytes: evicted %d clients, for one of which %d bytes waited; "
        log.warning(text + "topics keep %d bytes", self._budget, evicted, most, kept)


def _holds(outbox: Outbox) -> bool:
    """Whether something may wait longer than for the end of this turn."""
    return outbox.flow > 0 or outbox.fragmenting
