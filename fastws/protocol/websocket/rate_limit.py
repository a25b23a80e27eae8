"""How much this side takes from one WebSocket in a second; off by default.

A second is a window that begins with the first event after the window before it. Within a window never
more than the limit passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.protocol.websocket.events import Fail, Fragment, More
from fastws.protocol.websocket.frames import CloseCode

__all__ = ["RateLimiter", "Window"]


class Window:
    """Lets at most ``limit`` events or bytes pass in each second. ``now`` is a clock's time in seconds."""

    __slots__ = ("_ends", "_left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = 0
        self._ends = float("-inf")

    def take(self, count: int, now: float) -> int:
        """Count ``count`` of them, or as many as the limit still allows; return how many those are."""
        if now >= self._ends:
            self._ends = now + 1.0
            self._left = self.limit
        taken = min(count, self._left)
        self._left -= taken
        return taken

    def share(self, count: int, ends: float, now: float) -> None:
        """Count what others have let pass in a second of theirs that ends at ``ends``.

        Both seconds end at the same time from then on, so that neither side begins anew while the other still
        counts.
        """
        if now >= self._ends:
            self._left = self.limit
        self._ends = max(self._ends, min(ends, now + 1.0))
        self._left = max(self._left - count, 0)

    @property
    def ends(self) -> float:
        """When the current second ends."""
        return self._ends

    def over(self, now: float) -> bool:
        """Return whether the second has ended, so that this window counts nothing any more."""
        return now >= self._ends


class RateLimiter:
    """A reader that gives out what ``reader`` reads within the limits, and then a failure with 1008.

    ``size`` limits the bytes of frames in a second, as they came off the wire or out of TLS; ``messages``
    limits the messages that end in it. ``None`` is no limit. ``time`` is a clock in seconds. 1008 is the
    code for a policy that no other code describes (RFC 6455, section 7.4.1).
    """

    __slots__ = ("_bytes", "_exceeded", "_failed", "_messages", "_time", "reader")

    def __init__(
        self, reader: Any, messages: int | None, size: int | None, time: Callable[[], float]
    ) -> None:
        self.reader = reader
        self._messages = None if messages is None else Window(messages)
        self._bytes = None if size is None else Window(size)
        self._time = time
        self._failed = False
        #: Too many bytes have come, but the reader has not read those before them yet.
        self._exceeded = ""

    def receive(self, data: Any, size: int) -> list[Any]:
        """As ``FrameReader.receive``. After the failure: nothing."""
        if self._failed:
            return []
        now = self._time()
        exceeded = self._exceeded
        if exceeded:
            if size:
                return []
        elif self._bytes is not None:
            taken = self._bytes.take(size, now)
            if taken < size:
                size, exceeded = taken, "too many bytes"
        events: list[Any] = self.reader.receive(data, size)
        if self._messages is not None:
            ends = [index for index, event in enumerate(events) if _ends_message(event)]
            taken = self._messages.take(len(ends), now)
            if taken < len(ends):
                events, exceeded = events[: ends[taken]], "too many messages"
        if exceeded and events and type(events[-1]) is More:
            self._exceeded = exceeded
        elif exceeded:
            self._failed = True
            if not events or type(events[-1]) is not Fail:
                events.append(Fail(CloseCode.POLICY_VIOLATION, exceeded))
        return events


def _ends_message(event: Any) -> bool:
    kind = type(event)
    return kind is str or kind is bytes or (kind is Fragment and event.final)
