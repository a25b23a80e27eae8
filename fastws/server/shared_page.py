"""A page of integers that all processes of one server share: a row for each worker.

Only the worker writes its row, one aligned integer after the other, so a reader sees each integer whole and a
sum needs no lock. The supervisor clears the row of a worker that has ended.
"""

from __future__ import annotations

import mmap
import os
import time

__all__ = ["Row", "SharedPage"]

#: A worker whose heartbeat is older than that is not asked to share the work: it is stopped, or busy.
FRESH_SECONDS = 2.0

# The integers of a row, and what is left of a line of the processor's cache: no two workers share one.
IS_SERVING, HEARTBEAT, CONNECTIONS, MESSAGES = range(4)
ROW_INTEGERS = 8
ROW_BYTES = ROW_INTEGERS * 8


class Row:
    """The unsigned 64-bit integers of one worker."""

    __slots__ = ("_integers",)

    def __init__(self, integers: memoryview) -> None:
        self._integers = integers

    def clear(self) -> None:
        """Give the row back: its process has ended, however it did, and its sockets are closed."""
        for index in range(ROW_INTEGERS):
            self._integers[index] = 0

    @property
    def is_serving(self) -> bool:
        """True while the worker accepts connections."""
        return bool(self._integers[IS_SERVING])

    @is_serving.setter
    def is_serving(self, serving: bool) -> None:
        self._integers[IS_SERVING] = serving

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
    def messages(self) -> int:
        """The messages that the worker has received, where the supervisor wants to know."""
        return self._integers[MESSAGES]

    @messages.setter
    def messages(self, number: int) -> None:
        self._integers[MESSAGES] = number


class SharedPage:
    """The rows of all workers. ``create`` makes a page, and ``attach`` maps it in another process."""

    def __init__(self, fd: int, rows: int) -> None:
        #: The descriptor of the page; it goes to a worker by SCM_RIGHTS.
        self.fd = fd
        integers = memoryview(mmap.mmap(fd, rows * ROW_BYTES)).cast("Q")
        starts = range(0, len(integers), ROW_INTEGERS)
        self.rows = [Row(integers[start : start + ROW_INTEGERS]) for start in starts]

    @classmethod
    def create(cls, rows: int) -> SharedPage:
        """Make a page in memory (``memfd_create``), or where there is none, in a file without a name."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("fastws", os.MFD_CLOEXEC)
        else:
            import tempfile  # not above: only systems without memfd_create need it

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, rows * ROW_BYTES)
        return cls(fd, rows)

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

    def connections(self) -> int:
        """Return how many connections are open in all processes."""
        return sum(row.connections for row in self.rows)

    def fewest(self, now_ns: int) -> int:
        """Return the connections of the worker that has fewest of those at work; 0 where none is."""
        oldest = now_ns - FRESH_SECONDS * 1e9
        at_work = (row for row in self.rows if row.is_serving and row.heartbeat >= oldest)
        return min((row.connections for row in at_work), default=0)

    def close(self) -> None:
        """Close the descriptor. The memory is given back when no row is in use any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
