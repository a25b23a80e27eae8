"""A page of integers that all processes of one server share: a row for each worker.

Only the worker writes its row, and only its loop does, one aligned integer after the other. So a reader sees
each integer whole, a sum needs no lock, and what a worker had counted is still there after ``kill -9``.
"""

from __future__ import annotations

import mmap
import os
import time
from enum import IntEnum

__all__ = ["COUNTER_NAMES", "HEARTBEAT_SECONDS", "Row", "RowState", "SharedPage"]

#: A worker writes the time to its row so often.
HEARTBEAT_SECONDS = 0.5
#: A worker whose heartbeat is older than that is not asked to share the work: it is stopped, or busy.
FRESH_SECONDS = 2.0

#: What a worker counts, in the order of the integers of a row.
COUNTER_NAMES = (
    "connections",
    "http_responses",
    "websockets_opened",
    "websockets_closed",
    "messages_received",
    "messages_sent",
    "messages_dropped",
    "bytes_received",
    "bytes_sent",
    "evicted",
    "limited",
)

# The integers of a row, and what is left for more: 32 of 8 bytes are four lines of the processor's cache, so
# that no two workers write to the same line.
PID, STATE, HEARTBEAT, CONNECTIONS, STARTED, FIRST_COUNTER = range(6)
ROW_INTEGERS = 32
ROW_BYTES = ROW_INTEGERS * 8

#: All integers are unsigned 64-bit ones, and wrap.
MASK = (1 << 64) - 1


class RowState(IntEnum):
    """What the worker of a row does."""

    #: Nobody has the row.
    FREE = 0
    #: It starts, and does not accept yet.
    STARTING = 1
    #: It accepts connections.
    SERVING = 2
    #: It accepts no more, and lets its clients go.
    DRAINING = 3
    #: It has ended; its counters stay.
    ENDED = 4


class Row:
    """The integers of one worker. ``integers`` is a memoryview of unsigned 64-bit ones."""

    __slots__ = ("counters", "integers")

    def __init__(self, integers: memoryview) -> None:
        self.integers = integers
        #: Those of ``COUNTER_NAMES``, in that order.
        self.counters = integers[FIRST_COUNTER : FIRST_COUNTER + len(COUNTER_NAMES)]

    def begin(self, pid: int, state: RowState = RowState.STARTING, now_ns: int | None = None) -> None:
        """Take the row for a process. The counters of the one before go on."""
        self.integers[CONNECTIONS] = 0
        self.integers[STARTED] = time.monotonic_ns() if now_ns is None else now_ns
        self.beat(now_ns)
        self.integers[PID] = pid
        self.state = state

    def end(self) -> None:
        """The process of the row has ended, however it did: its sockets are closed. Its counters stay."""
        self.state = RowState.ENDED
        self.integers[PID] = self.integers[CONNECTIONS] = 0
        closed, opened = COUNTER_NAMES.index("websockets_closed"), COUNTER_NAMES.index("websockets_opened")
        self.counters[closed] = self.counters[opened]

    @property
    def pid(self) -> int:
        """The process; 0: none."""
        return self.integers[PID]

    @property
    def state(self) -> RowState:
        return RowState(self.integers[STATE])

    @state.setter
    def state(self, state: RowState) -> None:
        self.integers[STATE] = state

    @property
    def connections(self) -> int:
        """The connections that are open now."""
        return self.integers[CONNECTIONS]

    @connections.setter
    def connections(self, number: int) -> None:
        self.integers[CONNECTIONS] = number

    @property
    def heartbeat(self) -> int:
        """When the loop of the worker turned, in nanoseconds of ``time.monotonic_ns()``."""
        return self.integers[HEARTBEAT]

    @property
    def started(self) -> int:
        """When the worker began, in nanoseconds of ``time.monotonic_ns()``."""
        return self.integers[STARTED]

    def beat(self, now_ns: int | None = None) -> None:
        """Tell that the loop turns."""
        self.integers[HEARTBEAT] = time.monotonic_ns() if now_ns is None else now_ns

    def is_fresh(self, now_ns: int) -> bool:
        """True when the last heartbeat is young enough for a worker that is at work."""
        return now_ns - self.integers[HEARTBEAT] <= FRESH_SECONDS * 1e9

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return dict(zip(COUNTER_NAMES, self.counters, strict=True))


class SharedPage:
    """The rows of all workers; without ``fd`` in memory of this process alone.

    ``create`` makes a page that other processes can map by its descriptor, ``attach`` maps it there.
    """

    def __init__(self, rows: int = 1, *, fd: int = -1) -> None:
        #: The descriptor of the page, which a worker inherits; -1: it is private.
        self.fd = fd
        self._memory = mmap.mmap(fd, rows * ROW_BYTES)
        integers = memoryview(self._memory).cast("Q")
        self.rows = [
            Row(integers[start : start + ROW_INTEGERS]) for start in range(0, len(integers), ROW_INTEGERS)
        ]

    @classmethod
    def create(cls, rows: int) -> SharedPage:
        """Make a page of so many rows that other processes can map.

        Its descriptor goes to them by inheritance (``pass_fds``) or by SCM_RIGHTS. The page is in memory
        (``memfd_create``), or where the system has none, in a temporary file without a name.
        """
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("fastws", os.MFD_CLOEXEC)
        else:
            import tempfile  # not above: only systems without memfd_create need it

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, rows * ROW_BYTES)
        return cls(rows, fd=fd)

    @classmethod
    def attach(cls, fd: int) -> SharedPage:
        """Map the page of another process by its descriptor, which is this object's from now on.

        Raises ``ValueError`` where it is no such page, as that of another version.
        """
        rows, rest = divmod(os.fstat(fd).st_size, ROW_BYTES)
        if rest or not rows:
            raise ValueError(f"descriptor {fd} is no page of workers: {rows * ROW_BYTES + rest} bytes")
        return cls(rows, fd=fd)

    def row(self, index: int) -> Row:
        """Return the row of a worker. Raises ``IndexError``."""
        return self.rows[index]

    def connections(self) -> int:
        """Return how many connections are open in all processes."""
        return sum(row.connections for row in self.rows)

    def counters(self) -> dict[str, int]:
        """Return the sums of all rows by name, those of workers that have ended too."""
        columns = zip(*(row.counters for row in self.rows), strict=True)
        return {name: sum(column) & MASK for name, column in zip(COUNTER_NAMES, columns, strict=True)}

    def fewest(self, now_ns: int) -> int | None:
        """Return the connections of the worker that has fewest of those at work; None where none is."""
        return min(
            (
                row.integers[CONNECTIONS]
                for row in self.rows
                if row.integers[STATE] == RowState.SERVING and row.is_fresh(now_ns)
            ),
            default=None,
        )

    def close(self) -> None:
        """Close the descriptor. The memory is given back when no row is in use any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
