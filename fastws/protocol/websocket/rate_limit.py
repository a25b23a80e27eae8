"""What one open WebSocket may receive in a second: off unless somebody asks for it.

A second begins with the first event that falls into none yet. What is let through is exact: never
more than the limit in any of these seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.protocol.websocket.events import Fail, Fragment
from fastws.protocol.websocket.frames import CloseCode

__all__ = ["Meter", "Window"]


class Window:
    """Lets ``limit`` through in a second, and says how much of what comes it lets through."""

    __slots__ = ("_ends", "_left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = 0
        self._ends = float("-inf")

    def take(self, count: int, now: float) -> int:
        if now >= self._ends:
            self._ends = now + 1.0
            self._left = self.limit
        taken = min(count, self._left)
        self._left -= taken
        return taken

    def over(self, now: float) -> bool:
        """True when the second has ended, so that nothing of it counts any more."""
        return now >= self._ends


class Meter:
    """A reader that gives out what ``reader`` reads within the limits, then a failure (1008).

    Bytes are those of the frames, as they came off the wire or out of TLS; messages are counted when
    they are complete. ``None`` is no limit. ``time`` is a clock in seconds.
    """

    __slots__ = ("_bytes", "_messages", "_stopped", "_time", "reader")

    def __init__(
        self, reader: Any, messages: int | None, size: int | None, time: Callable[[], float]
    ) -> None:
        self.reader = reader
        self._messages = None if messages is None else Window(messages)
        self._bytes = None if size is None else Window(size)
        self._time = time
        self._stopped = False

    def receive(self, data: Any, size: int) -> list[Any]:
        if self._stopped:
            return []
        now = self._time()
        beyond = ""
        if self._bytes is not None:
            taken = self._bytes.take(size, now)
            if taken < size:
                size, beyond = taken, "too many bytes"
        events: list[Any] = self.reader.receive(data, size)
        if self._messages is not None:
            ends = [index for index, event in enumerate(events) if _ends_message(event)]
            taken = self._messages.take(len(ends), now)
            if taken < len(ends):
                events, beyond = events[: ends[taken]], "too many messages"
        if beyond:
            self._stopped = True
            if not events or type(events[-1]) is not Fail:
                events.append(Fail(CloseCode.POLICY_VIOLATION, beyond))
        return events


def _ends_message(event: Any) -> bool:
    kind = type(event)
    return kind is str or kind is bytes or (kind is Fragment and event.final)
