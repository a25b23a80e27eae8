"""Integers by name that all processes of one server share: a row for each worker, one place for each name.

Only the worker writes its row, and each integer at once, so a sum over the rows needs no lock. Names are
added under a lock and never leave: the next worker of a row, and one that has read the application again,
find theirs. What a worker has written stays when it is killed, so sums of counters never go back.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from fastws.connection.counters import CLOSES, COUNTER_NAMES, LEFT
from fastws.meters.histogram import HISTOGRAM_INTEGERS
from fastws.meters.memory import locked, memory_file

__all__ = ["MAX_LABEL", "ROW_INTEGERS", "Board", "Kind", "Series"]

log = logging.getLogger("fastws.error")

#: Of each row: the integers of all names.
ROW_INTEGERS = 8192
#: Bytes of all names together.
NAMES_BYTES = 64 * 1024
#: Most characters of a label: a route may be long.
MAX_LABEL = 200

#: The integers before the names.
MAGIC, NAMES_USED, PLACES_USED, ROWS_USED = range(4)
HEADER_BYTES = 64
MAGIC_NUMBER = 0x66617374777332

ENTRY = struct.Struct("<HHI")
SEPARATOR = "\x1f"
ROWS_START = (HEADER_BYTES + NAMES_BYTES) // 8

OPENED, CLOSED, QUEUE_BYTES = (
    COUNTER_NAMES.index(name) for name in ("websockets_opened", "websockets_closed", "queue_bytes")
)


class Kind(IntEnum):
    """What stands at the place of a name."""

    COUNTER = 1
    #: What is so now: it is 0 when the process has ended.
    GAUGE = 2
    HISTOGRAM = 3
    #: As :class:`fastws.connection.counters.Counters` writes them.
    COUNTERS = 4
    #: As they count closes.
    CLOSES = 5


WIDTHS = {
    Kind.COUNTER: 1,
    Kind.GAUGE: 1,
    Kind.HISTOGRAM: HISTOGRAM_INTEGERS,
    Kind.COUNTERS: len(COUNTER_NAMES),
    Kind.CLOSES: len(CLOSES),
}


class Series(NamedTuple):
    """A name with its labels, and where its integers are in each row."""

    kind: Kind
    name: str
    labels: tuple[str, ...]
    place: int


class Board:
    """The names and the rows. ``create`` makes one, and ``attach`` maps it in another process.

    Args:
        memory: of the size that :meth:`size_of` says.
        fd: its descriptor; -1: no other process has it.
    """

    def __init__(self, memory: mmap.mmap, fd: int = -1) -> None:
        #: The descriptor; it goes to a worker by SCM_RIGHTS.
        self.fd = fd
        self._memory = memory
        self._integers = memoryview(memory).cast("q")
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}
        self._names_read = 0
        self._is_full = False

    @staticmethod
    def size_of(rows: int) -> int:
        """Return the bytes of a board."""
        return HEADER_BYTES + NAMES_BYTES + rows * ROW_INTEGERS * 8

    @classmethod
    def private(cls) -> Board:
        """Make one of a single row, which no other process has."""
        board = cls(mmap.mmap(-1, cls.size_of(1)))
        board._integers[MAGIC] = MAGIC_NUMBER
        return board

    @classmethod
    def create(cls, rows: int) -> Board:
        """Make one that other processes can attach; pages of it are there when they are written."""
        fd = memory_file("fastws-board", cls.size_of(rows))
        board = cls(mmap.mmap(fd, cls.size_of(rows)), fd)
        board._integers[MAGIC] = MAGIC_NUMBER
        return board

    @classmethod
    def attach(cls, fd: int) -> Board:
        """Map the board of another process by its descriptor, which is this object's from now on.

        Raises ``ValueError`` where it is no such board, as that of another version.
        """
        size = os.fstat(fd).st_size
        if size > HEADER_BYTES + NAMES_BYTES and (size - cls.size_of(0)) % (ROW_INTEGERS * 8) == 0:
            board = cls(mmap.mmap(fd, size), fd)
            if board._integers[MAGIC] == MAGIC_NUMBER:
                return board
        raise ValueError(f"descriptor {fd} is no board of meters: {size} bytes")

    # -- names ----------------------------------------------------------------------------------

    def add(self, kind: Kind, name: str, *labels: str) -> int | None:
        """Return the place of a name, made where it is new; None where there is no room for another one."""
        labels = tuple(label[:MAX_LABEL].replace(SEPARATOR, " ") for label in labels)
        found = self._series.get((name, labels))
        if found is None:
            with locked(self.fd):
                self._read_names()
                found = self._series.get((name, labels)) or self._append(kind, name, labels)
        return None if found is None else found.place

    def _append(self, kind: Kind, name: str, labels: tuple[str, ...]) -> Series | None:
        text = SEPARATOR.join((name, *labels)).encode("utf-8", "replace")
        used, place = self._integers[NAMES_USED], self._integers[PLACES_USED]
        width = WIDTHS[kind]
        if used + ENTRY.size + len(text) > NAMES_BYTES or place + width > ROW_INTEGERS:
            if not self._is_full:
                self._is_full = True
                log.warning("metrics: there is no room for more names than now; %s is not counted", name)
            return None
        start = HEADER_BYTES + used
        self._memory[start : start + ENTRY.size + len(text)] = ENTRY.pack(kind, len(text), place) + text
        self._integers[PLACES_USED] = place + width
        # Last: who reads sees the whole entry.
        self._integers[NAMES_USED] = used + ENTRY.size + len(text)
        self._read_names()
        return self._series[name, labels]

    def _read_names(self) -> None:
        end = self._integers[NAMES_USED]
        # Another thread may read the same ones at the same time.
        at = self._names_read
        while at < end:
            start = HEADER_BYTES + at
            kind, size, place = ENTRY.unpack_from(self._memory, start)
            start += ENTRY.size
            name, *labels = self._memory[start : start + size].decode().split(SEPARATOR)
            series = Series(Kind(kind), name, tuple(labels), place)
            self._series[name, series.labels] = series
            at += ENTRY.size + size
        self._names_read = at

    def series(self) -> list[Series]:
        """Return all names, in the order in which they were added."""
        self._read_names()
        return list(self._series.values())

    # -- numbers --------------------------------------------------------------------------------

    def row(self, index: int) -> memoryview:
        """Return the integers of a worker, to write to; from then on they are in the sums."""
        row = self._row(index)
        with locked(self.fd):
            self._integers[ROWS_USED] = max(self._integers[ROWS_USED], index + 1)
        return row

    def _row(self, index: int) -> memoryview:
        start = ROWS_START + index * ROW_INTEGERS
        row = self._integers[start : start + ROW_INTEGERS]
        if len(row) < ROW_INTEGERS:
            raise IndexError(f"the board has no row {index}")
        return row

    def sums(self, series: Series) -> list[int]:
        """Return the integers of a name, each summed over all rows that were ever used."""
        rows = [self.of_row(index, series) for index in range(self._integers[ROWS_USED])]
        return [sum(column) for column in zip(*rows, strict=True)] or [0] * WIDTHS[series.kind]

    def of_row(self, index: int, series: Series) -> list[int]:
        """Return the integers of a name in one row."""
        start = ROWS_START + index * ROW_INTEGERS + series.place
        return self._integers[start : start + WIDTHS[series.kind]].tolist()

    def counters(self, index: int | None = None) -> dict[str, int]:
        """Return what all the :attr:`Kind.COUNTERS` of a row, or of all rows, have counted, by name."""
        totals = [0] * len(COUNTER_NAMES)
        for series in self.series():
            # What topics count are messages that their clients' routes count too.
            if series.kind is Kind.COUNTERS and series.name == "route":
                found = self.sums(series) if index is None else self.of_row(index, series)
                totals = [total + number for total, number in zip(totals, found, strict=True)]
        return dict(zip(COUNTER_NAMES, totals, strict=True))

    def closes(self) -> Iterator[tuple[str, str, str, int]]:
        """Return how many WebSockets have ended, by route, code and who closed; those of none are left out.

        1006 without a close frame is always there, so that a first one is seen as one more.
        """
        for series in self.series():
            if series.kind is Kind.CLOSES:
                for place, number in enumerate(self.sums(series)):
                    if number or place == LEFT:
                        yield series.labels[0], *CLOSES[place], number
            elif series.name == "close":
                route, code, initiator = series.labels
                yield route, code, initiator, self.sums(series)[0]

    def clear(self, index: int) -> None:
        """Give a row back: its process has ended, however it did. Its counters stay.

        WebSockets that were open there have ended without a close frame. It waits for no lock: a worker that
        is stopped may hold it.
        """
        row = self._row(index)
        for series in self.series():
            place = series.place
            if series.kind is Kind.GAUGE:
                row[place] = 0
            elif series.kind is Kind.COUNTERS:
                row[place + QUEUE_BYTES] = 0
                closes = self._series.get(("closes", series.labels))
                if series.name == "route" and closes is not None:
                    row[closes.place + LEFT] += row[place + OPENED] - row[place + CLOSED]
                row[place + CLOSED] = row[place + OPENED]

    def close(self) -> None:
        """Close the descriptor. The memory is given back when no row is in use any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
