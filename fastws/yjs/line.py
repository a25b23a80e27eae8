"""What the processes that have the same document open tell each other, through the hub.

A message is one byte that says its kind, and content. The document's topic carries changes and awareness; who
opens a document, or has missed messages, asks there for all that the others have and it has not. Where a
store is private, it asks all processes, also those that have the document in their store only.
"""

from __future__ import annotations

from typing import Protocol

from fastws.asgi.subscriber import Subscriber, subscriber
from fastws.config import Limits
from fastws.pubsub.hub import Hub

__all__ = ["ANSWER", "ASK", "AWARE", "CHANGE", "Line", "Listener"]

#: A change of the document: an update. What clients say: entries as in a message of theirs.
CHANGE, AWARE = b"u", b"a"
#: "Who has more than this state vector?", and what answers it: an update, and its state vector in front.
ASK, ANSWER = b"?", b"="

#: What waits here for one turn of the loop: nobody else is as fast.
LIMITS = Limits(send_queue=100_000, send_queue_bytes=256 * 1024 * 1024)


class Listener(Protocol):
    """Who is told what comes."""

    def heard(self, kind: bytes, content: bytes) -> None:
        """Take a message of another process."""

    def missed(self) -> None:
        """Messages of other processes did not come."""


class Line:
    """This process's end of one topic. In a hub that shares nothing it is silent.

    Args:
        hub: The hub, which other processes may share.
        topic: The topic.
        listener: Who is told what comes.
    """

    def __init__(self, hub: Hub, topic: str, listener: Listener) -> None:
        self._hub = hub
        self._topic = topic
        self._listener = listener
        self._member: Subscriber | None = None
        self._is_open = False

    @property
    def is_shared(self) -> bool:
        """True where other processes may be at the other end."""
        return self._hub._is_shared()

    def open(self) -> None:
        """Hear from now on."""
        self._is_open = True
        if self.is_shared:
            self._member = subscriber(_Ear(self), limits=LIMITS, on_gap=self._on_gap)
            self._hub.subscribe(self._member, self._topic)

    def say(self, kind: bytes, content: bytes) -> None:
        """Tell the others something; it leaves at the end of this turn."""
        if self.is_shared:
            self._hub.publish(self._topic, kind + content, exclude=self._member)

    async def others(self) -> int:
        """Return how many other processes hear this topic."""
        if not self.is_shared:
            return 0
        return await self._hub.total(self._topic) - self._hub.count(self._topic)

    def close(self) -> None:
        """Hear nothing more."""
        self._is_open = False
        if self._member is not None:
            self._member.leave()
            self._member = None

    # -- for the hub ----------------------------------------------------------------------------

    def heard(self, message: bytes) -> None:
        """Take a message."""
        if self._is_open:
            self._listener.heard(message[:1], message[1:])

    def evicted(self) -> None:
        """More has come in one turn than there may be."""
        if self._is_open:
            self.open()
            self._listener.missed()

    def _on_gap(self, topic: str, missed: int | None, reason: str) -> None:
        if self._is_open:
            self._listener.missed()


class _Ear:
    """What a hub takes for the WebSocket of another framework: it hands over what it is sent."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send_text(self, message: str) -> None:
        """Nobody says text here."""

    async def send_bytes(self, message: bytes) -> None:
        self._line.heard(message)

    async def close(self, code: int, reason: str) -> None:
        self._line.evicted()
