"""A page of integers that all processes of one server share: a row for each worker.

Only the worker writes its row, one aligned integer after the other, so a reader sees each integer whole and a
sum needs no lock. What a worker has written stays when it is killed. When it has ended, the supervisor says
in the row that nobody is connected there. The counters stay, and the next worker of that row adds to them: so
sums over all rows are those of all workers that there ever were, and never go back.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastws.connection.counters import COUNTER_NAMES
from fastws.meters.memory import memory_file

if TYPE_CHECKING:
    from fastws.meters.board import Board
    from fastws.server.address_limits import Holdings

__all__ = ["Membership", "Row", "SharedPage"]

#: A worker whose heartbeat is older than that is not asked to share the work: it is stopped, or busy.
FRESH_SECONDS = 2.0

# The integers of a row: what is so now, and from a line of the processor's cache on the counters. A row is
# some lines, and no two workers share one.
IS_SERVING, HEARTBEAT, CONNECTIONS, STARTING, EXCESS, YIELDS = range(6)
COUNTERS = 8
ROW_INTEGERS = 32
ROW_BYTES = ROW_INTEGERS * 8

OPENED, CLOSED, RECEIVED, QUEUE_BYTES = (
    COUNTERS + COUNTER_NAMES.index(name)
    for name in ("websockets_opened", "websockets_closed", "messages_received", "queue_bytes")
)


class Row:
    """The unsigned 64-bit integers of one worker."""

    __slots__ = ("_integers",)

    def __init__(self, integers: memoryview) -> None:
        self._integers = integers

    def clear(self) -> None:
        """Give the row back: its process has ended, however it did, and its sockets are closed."""
        for index in range(COUNTERS):
            self._integers[index] = 0
        self._integers[CLOSED] = self._integers[OPENED]
        self._integers[QUEUE_BYTES] = 0

    @property
    def counters(self) -> memoryview:
        """The memory of the counters; see :meth:`Counters.share`."""
        return self._integers[COUNTERS:]

    @property
    def messages_received(self) -> int:
        """The messages that all workers of this row have received."""
        return self._integers[RECEIVED]

    @property
    def is_serving(self) -> bool:
        """True while the worker accepts connections."""
        return bool(self._integers[IS_SERVING])

    @is_serving.setter
    def is_serving(self, serving: bool) -> None:
        self._integers[IS_SERVING] = serving

    @property
    def yields(self) -> bool:
        """True while the worker leaves new connections to the others: they must not wait for it."""
        return bool(self._integers[YIELDS])

    @yields.setter
    def yields(self, yields: bool) -> None:
        self._integers[YIELDS] = yields

    @property
    def heartbeat(self) -> int:
        """When the loop of the worker turned, in nanoseconds of ``time.monotonic_ns()``; 0: not yet."""
        return self._integers[HEARTBEAT]

    def beat(self, now_ns: int | None = None) -> None:
        """Tell that the loop turns."""
        self._integers[HEARTBEAT] = time.monotonic_ns() if now_ns is None else now_ns

    @property
    def connections(self) -> int:
        """The connections that are open now."""
        return self._integers[CONNECTIONS]

    @connections.setter
    def connections(self, number: int) -> None:
        self._integers[CONNECTIONS] = number

    @property
    def starting(self) -> int:
        """Connections that are accepted and on their way to the server, by a PROXY header and TLS."""
        return self._integers[STARTING]

    @starting.setter
    def starting(self, number: int) -> None:
        self._integers[STARTING] = number

    @property
    def excess(self) -> int:
        """Those of ``connections`` that are beyond the limit of the whole server, and wait for their 503."""
        return self._integers[EXCESS]

    @excess.setter
    def excess(self, number: int) -> None:
        self._integers[EXCESS] = number


class SharedPage:
    """The rows of all workers. ``create`` makes a page, and ``attach`` maps it in another process."""

    def __init__(self, fd: int, rows: int) -> None:
        #: The descriptor of the page; it goes to a worker by SCM_RIGHTS.
        self.fd = fd
        #: What is counted by route and more; None: nobody asks for it.
        self.board: Board | None = None
        self._integers = integers = memoryview(mmap.mmap(fd, rows * ROW_BYTES)).cast("Q")
        starts = range(0, len(integers), ROW_INTEGERS)
        self.rows = [Row(integers[start : start + ROW_INTEGERS]) for start in starts]

    @classmethod
    def create(cls, rows: int) -> SharedPage:
        """Make a page."""
        return cls(memory_file("fastws", rows * ROW_BYTES), rows)

    @classmethod
    def attach(cls, fd: int) -> SharedPage:
        """Map the page of another process by its descriptor, which is this object's from now on.

        Raises ``ValueError`` where it is no such page, as that of another version.
        """
        size = os.fstat(fd).st_size
        if not size or size % ROW_BYTES:
            raise ValueError(f"descriptor {fd} is no page of workers: {size} bytes")
        return cls(fd, size // ROW_BYTES)

    def row(self, index: int) -> Row:
        """Return the row of a worker. Raises ``IndexError``."""
        return self.rows[index]

    def _sum(self, index: int) -> int:
        return sum(self._integers[index::ROW_INTEGERS])

    def connections(self) -> int:
        """Return how many connections are open in all processes."""
        return self._sum(CONNECTIONS)

    def connections_within_limit(self) -> int:
        """Return those of them that do not wait for a 503."""
        return self._sum(CONNECTIONS) - self._sum(EXCESS)

    def totals(self) -> dict[str, int]:
        """Return the counters of all workers by name, also of those that have ended."""
        found = self.own_totals()
        if self.board is not None:
            for name, number in self.board.counters().items():
                found[name] += number
        return found

    def own_totals(self) -> dict[str, int]:
        """Return those of them that no route counts for itself."""
        return {name: self._sum(COUNTERS + index) for index, name in enumerate(COUNTER_NAMES)}

    def messages_received(self, index: int) -> int:
        """Return the messages that all workers of a row have received."""
        by_route = 0 if self.board is None else self.board.counters(index)["messages_received"]
        return self.rows[index].messages_received + by_route

    def clear(self, index: int) -> None:
        """Give a row back: its process has ended, however it did, and its sockets are closed."""
        self.rows[index].clear()
        if self.board is not None:
            self.board.clear(index)

    def fewest(self, now_ns: int) -> int:
        """Return the connections of the worker that has fewest of those that accept; 0 where none does."""
        oldest = now_ns - FRESH_SECONDS * 1e9
        at_work = (row for row in self.rows if row.is_serving and not row.yields and row.heartbeat >= oldest)
        return min((row.connections + row.starting for row in at_work), default=0)

    def close(self) -> None:
        """Close the descriptor. The memory is given back when no row is in use any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True, slots=True)
class Membership:
    """What makes a server one of several workers, which are one server to their clients."""

    page: SharedPage
    #: This worker's.
    row: Row
    #: For the limits by address; None: each worker counts for itself.
    holdings: Holdings | None = None
    #: Whether ``limit_concurrency`` is that of all workers; else it is what one process has room for.
    is_limit_for_all: bool = True
