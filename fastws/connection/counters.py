"""The counters of one server: integers that its connections write, in memory that processes may share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["CLOSES", "COUNTER_NAMES", "LEFT", "UNCOUNTED", "Counters", "SummedCounters"]

#: In the order of their places in memory: that of ``_counters.h``.
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
    "dropped_oldest",
    "dropped_newest",
    "queue_bytes",
)

#: The codes of the protocol (RFC 6455, section 7.4).
CODES = range(1000, 1016)
#: The places of closes, by code and initiator, as ``_counters.h`` has them. Codes from 3000 on are anybody's,
#: and a client must not make names of its own; with 1006 it has said nothing.
CLOSES = (
    *((str(code), "server") for code in CODES),
    *((str(code), "none" if code == 1006 else "client") for code in CODES),
    ("3xxx", "client"),
    ("4xxx", "client"),
)
#: The place of those that ended without a close frame.
LEFT = CLOSES.index(("1006", "none"))


class PlainCounters:
    """As ``Counters`` of ``_counters.c``, where no compiler was there to build that."""

    __slots__ = ("_base", "_closes", "_numbers")

    def __init__(self) -> None:
        self._closes: Any = None
        self._numbers: Any = [0] * len(COUNTER_NAMES)
        #: What stood there before this server began.
        self._base = [0] * len(COUNTER_NAMES)

    @property
    def row(self) -> PlainCounters:
        """Where the numbers are written."""
        return self

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return {name: getattr(self, name) for name in COUNTER_NAMES}

    def share(self, memory: memoryview) -> None:
        """Write to this memory from now on, and add to what stands there. Raises as that of C does."""
        numbers = integers(memory, len(COUNTER_NAMES))
        counted = list(self.as_dict().values())
        self._base = list(numbers)
        for index, number in enumerate(counted):
            numbers[index] += number
        self._numbers = numbers

    def count_closes(self, memory: memoryview) -> None:
        """Count closes in this memory from now on. Raises as that of C does."""
        self._closes = integers(memory, len(CLOSES))

    def server_closed(self, code: int) -> bool:
        """Count a WebSocket that we have closed; False as that of C says it."""
        return self._count_close(code - CODES.start if code in CODES else None)

    def peer_closed(self, code: int) -> bool:
        """Count a WebSocket that its peer has closed, or left; False as that of C says it."""
        if code in CODES:
            return self._count_close(len(CODES) + code - CODES.start)
        return self._count_close(2 * len(CODES) + (code >= 4000) if 3000 <= code < 5000 else None)

    def _count_close(self, place: int | None) -> bool:
        if place is None or self._closes is None:
            return False
        self._closes[place] += 1
        return True

    def __repr__(self) -> str:
        return f"Counters({self.as_dict()})"


def integers(memory: memoryview, number: int) -> memoryview:
    """Return the first integers of a memory."""
    if memory.readonly:
        raise BufferError("the memory cannot be written")
    found = memory.cast("B")
    if len(found) < 8 * number:
        raise ValueError(f"counters need {8 * number} bytes at a multiple of 8")
    return found[: 8 * number].cast("q")


def _counter(index: int) -> property:
    def get(self: PlainCounters) -> int:
        number: int = self._numbers[index] - self._base[index]
        return number

    def put(self: PlainCounters, number: int) -> None:
        self._numbers[index] = self._base[index] + number

    return property(get, put)


for _index, _name in enumerate(COUNTER_NAMES):
    setattr(PlainCounters, _name, _counter(_index))

if TYPE_CHECKING:
    from fastws.connection._counters import Counters
else:
    try:
        from fastws.connection._counters import Counters
    except ImportError:  # built without a C compiler
        Counters = PlainCounters

#: Where a connection counts that is no WebSocket of a server: nobody reads it.
UNCOUNTED = Counters()


class SummedCounters:
    """The sums of several counters, to read."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Counters]) -> None:
        self._parts = parts

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        each = [part.as_dict() for part in self._parts]
        return {name: sum(part[name] for part in each) for name in COUNTER_NAMES}

    def __getattr__(self, name: str) -> int:
        if name not in COUNTER_NAMES:
            raise AttributeError(name)
        return self.as_dict()[name]

    def __repr__(self) -> str:
        return f"Counters({self.as_dict()})"
