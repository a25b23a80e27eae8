"""One connection of an editor: what a room needs of it, and how much of a core it may take."""

from __future__ import annotations

from typing import Any

from fastws.connection.flow import SendStatus

__all__ = ["Budget", "Client"]

#: Seconds of CPU that a client may take at once after a quiet time.
BURST_SECONDS = 0.25
TOO_SLOW = 1008


class Budget:
    """Seconds of CPU that a client may take: a share of the time, and a burst."""

    __slots__ = ("_balance", "_share", "_then")

    def __init__(self, percent: int, now: float) -> None:
        self._share = percent / 100
        self._balance = BURST_SECONDS
        self._then = now

    def spend(self, cost: float, now: float) -> float:
        """Take some; return the seconds for which the client has to wait."""
        self._balance = min(BURST_SECONDS, self._balance + (now - self._then) * self._share) - cost
        self._then = now
        return max(0.0, -self._balance / self._share)


class Client:
    """A WebSocket at a document.

    Args:
        ws: The WebSocket.
        may_write: False: it is told of changes, and makes none.
    """

    __slots__ = ("is_asked", "may_write", "subscriber")

    def __init__(self, ws: Any, *, may_write: bool) -> None:
        #: What a hub takes for it.
        self.subscriber = ws
        self.may_write = may_write
        #: True until it has answered what the document lacks.
        self.is_asked = False

    @property
    def is_congested(self) -> bool:
        """True while its socket refuses bytes."""
        blocked: bool = self.subscriber.outbox.blocked
        return blocked

    def say(self, message: bytes) -> None:
        """Send a message. Who has left too much unread is closed: then nothing is missing in between."""
        if self.subscriber.send_nowait(message) is SendStatus.DROPPED:
            self.subscriber.close_nowait(TOO_SLOW, "too slow")
