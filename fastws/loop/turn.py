# cython: annotation_typing=False
"""The turn of the loop: what was sent in it is written at its end, one write for each connection.

A *turn* lasts from the first ``schedule`` or ``publish`` to the call that the loop makes after the events
it has at hand. When something was published to many, it goes on until a few such calls in a row have
brought nothing more. Handlers' answers to reads leave earlier: when 16 wait, and at the end of a poll of
the poller.

What may not live here: encoding, topics, policies of one connection, and anything about HTTP. The turn knows
outboxes as ``Writable``, and topics as ``Published``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Published", "Turn", "Writable"]

#: Connections whose answers are written together: what the kernel does for one is in the processor's cache
#: for the next, and a peer that waits for several is woken once.
ANSWERS_TOGETHER = 16

#: Answers that are written at once after a turn in which one connection alone was answered. Then the turn
#: looks again whether others are answered with it.
ANSWERS_AT_ONCE = 64


class Writable:
    """What a turn writes at its end: the outbox of one connection."""

    __slots__ = ()

    def is_large(self) -> bool:
        """True when what it has to write begins with a large message."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write everything of this turn."""
        raise NotImplementedError

    def flush_later(self) -> None:
        """Write it at the end of the turn; raises nothing. The transport may be closing by now."""
        raise NotImplementedError


class Published:
    """What topics have published in this turn."""

    __slots__ = ()

    def waits_for_more(self) -> bool:
        """True when the turn shall go on, since more may be published to the same topics."""
        raise NotImplementedError

    def flush(self) -> None:
        """Give everything to its subscribers."""
        raise NotImplementedError


class Turn:
    """One for each event loop; everything here runs on that loop."""

    __slots__ = (
        "_answers_at_once",
        "_call_soon",
        "_scheduled",
        "_waiting",
        "clock",
        "has_published",
        "published",
        "rest_seconds",
    )

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._call_soon = call_soon
        self.clock = clock
        self._scheduled = False
        self._waiting: list[Writable] = []
        self._answers_at_once = 0
        #: What topics publish, once there are topics; and whether one has published in this turn.
        self.published: Published | None = None
        self.has_published = False
        #: Set by a topic that leaves a message of a flood out: whoever sent it may be read so much later.
        self.rest_seconds = 0.0

    def schedule(self, writable: Writable) -> None:
        """Flush ``writable`` once, at the end of this turn."""
        if not self._scheduled:
            self._call_soon(self.flush)  # raises in a wrong thread where the loop debugs
            self._scheduled = True
        self._waiting.append(writable)

    def begin(self) -> bool:
        """Begin a turn that the caller ends by :meth:`end`; False when one has begun already."""
        if self._scheduled:
            return False
        self._scheduled = True
        return True

    def end(self) -> None:
        """Write what was answered; what was published waits for what else the loop's turn brings."""
        if self.has_published:
            self._call_soon(self.flush)
        else:
            self._scheduled = False
        self._flush_waiting()

    def answer(self, writable: Writable) -> None:
        """Write the handler's answer to one read, together with the answers to others of this turn.

        It is written at once where waiting gains nothing: a large message, or one connection alone that
        was answered in the last turn that waited for others.
        """
        most = ANSWERS_TOGETHER  # an integer of C where this is compiled
        if writable.is_large():
            writable.flush()
        elif self._answers_at_once and not self._scheduled:
            self._answers_at_once -= 1
            writable.flush()
        else:
            self.schedule(writable)
            if len(self._waiting) >= most:
                self._flush_waiting()

    def publish(self) -> None:
        """Note that a topic has something for this turn."""
        if not self._scheduled:
            self._call_soon(self.flush)
            self._scheduled = True
        self.has_published = True

    def flush(self) -> None:
        """End the turn: give what was published to its subscribers, and flush every outbox that waits.

        An exception, as of a compressor without memory, goes to the loop when all others have been written
        to.
        """
        published = self.published
        if published is not None and self.has_published and published.waits_for_more():
            self._call_soon(self.flush)
            self._flush_waiting()
            return
        try:
            if published is not None and self.has_published:
                self.has_published = False
                published.flush()
        finally:
            self._scheduled = False
            self._flush_waiting()

    def _flush_waiting(self) -> None:
        waiting = self._waiting
        if waiting:
            self._waiting = []
            self._answers_at_once = ANSWERS_AT_ONCE if len(waiting) == 1 else 0
            for writable in waiting:
                writable.flush_later()
