"""A budget for what waits for clients and what topics keep: over it, the clients with most are evicted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from fastws.connection.foreign import SINKS
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


class Client(Protocol):
    """A connection of ours; or a sink, whose client comes to another framework or by plain HTTP."""

    @property
    def outbox(self) -> Outbox: ...

    def evict(self, reason: str) -> None: ...


class Waiting:
    """What waits for the clients: bytes of their own, and publications, which several may wait for."""

    def __init__(self, clients: Iterable[Client]) -> None:
        #: Of each client what waits for it, the largest first.
        self.clients: list[tuple[int, Client]] = []
        self._holders: Counter[Publication] = Counter()
        self.size = 0
        for client in clients:
            if client.outbox.is_open and _holds(client.outbox):
                self._add(client)
        self.clients.sort(key=lambda client: -client[0])

    def _add(self, client: Client) -> None:
        outbox = client.outbox
        published = outbox.publications()
        self.clients.append((outbox.buffered_amount, client))
        self.size += outbox.buffered_amount - sum(each.size for each in published)
        for each in published:
            if not self._holders[each]:
                self.size += each.size
            self._holders[each] += 1

    def evict(self, client: Client) -> None:
        """Close a client, and count no more what waited only for it."""
        outbox = client.outbox
        published = outbox.publications()
        self.size -= outbox.buffered_amount - sum(each.size for each in published)
        for each in published:
            self._holders[each] -= 1
            if not self._holders[each]:
                self.size -= each.size
        client.evict("memory budget")


class MemoryBudget:
    """Looks now and then; nothing is counted for each message.

    Args:
        budget: bytes that all of it may have.
        connections: those of the server, which changes them. Clients of other frameworks, and of server-sent
            events, count too, as far as they are served by this loop.
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
        foreign: list[Client] = [sink for sink in list(SINKS) if sink.loop is self._loop]
        everybody = chain(self._connections, foreign)
        most = sum(each.outbox.buffered_amount for each in everybody if _holds(each.outbox))
        if kept + most <= self._budget:
            self._tell(kept, 0)
            return
        # A message that waits for many is there once: that was only the most that it may be.
        waiting = Waiting([*(each for each in self._connections if each.ws is not None), *foreign])
        for size, client in waiting.clients:
            if kept + waiting.size <= self._budget:
                break
            waiting.evict(client)
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
