"""The counters of one server: integers that its connections write, in memory that processes may share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["COUNTER_NAMES", "UNCOUNTED", "Counters", "SummedCounters"]

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


class PlainCounters:
    """As ``Counters`` of ``_counters.c``, where no compiler was there to build that."""

    __slots__ = ("_base", "_numbers")

    def __init__(self) -> None:
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
        if memory.readonly:
            raise BufferError("the memory cannot be written")
        numbers = memory.cast("B")
        if len(numbers) < 8 * len(COUNTER_NAMES):
            raise ValueError(f"counters need {8 * len(COUNTER_NAMES)} bytes at a multiple of 8")
        numbers = numbers[: 8 * len(COUNTER_NAMES)].cast("q")
        counted = list(self.as_dict().values())
        self._base = list(numbers)
        for index, number in enumerate(counted):
            numbers[index] += number
        self._numbers = numbers

    def __repr__(self) -> str:
        return f"Counters({self.as_dict()})"


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
