"""A worker, as the keeper sees it."""

from __future__ import annotations

from collections import deque
from typing import Any

from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.records import Kind, Record, encode_record

__all__ = ["Member"]


class Member:
    """What it uses, what it has said, and what it is to be told at the end of this turn.

    Topics are of :class:`fastws.pubsub.keeper.kept_topic.KeptTopic`.
    """

    __slots__ = ("_answers", "_out", "_size", "_taken", "_told", "missed", "peer", "topics", "wanted")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        #: By key: those whose settings it shares.
        self.topics: dict[bytes, Any] = {}
        #: Topics of which it is to be sent what is kept, when there is room: from which offset on, and which
        #: one was the next when it asked.
        self.wanted: deque[tuple[Any, int, int]] = deque()
        #: Records with messages that were taken; and what it was told last.
        self._taken = 0
        self._told = 0
        self._answers: list[bytes] = []
        self._out: list[tuple[Any, int, Record]] = []
        self._size = 0

    def took(self, answer: bytes = b"") -> None:
        """Note that one more record was taken, and what to answer."""
        self._taken += 1
        if answer:
            self._answers.append(answer)

    def tell_taken(self) -> None:
        """Say what was taken. It comes before anybody hears of it."""
        if self._taken > self._told:
            self._told = self._taken
            taken = encode_record(Kind.TAKEN, 0, b"", 0, self._taken)
            self.peer.write(b"".join([taken, *self._answers]))
            self._answers.clear()

    def want(self, topic: Any, offset: int) -> None:
        """Send it what is kept of a topic from an offset on, when there is room."""
        self.unfollow(topic)
        self.wanted.append((topic, offset, topic.next_offset()))

    def unfollow(self, topic: Any) -> None:
        """Send it nothing more of a topic."""
        topic.followers.discard(self)
        if any(each is topic for each, *_ in self.wanted):
            self.wanted = deque(each for each in self.wanted if each[0] is not topic)

    def add(self, topic: Any, offset: int, record: Record) -> None:
        """Tell it something of a topic that it follows, at the end of this turn."""
        self._out.append((topic, offset, record))
        self._size += record.size

    def write(self) -> None:
        """Tell it what was added. Without room it is sent what is kept, later."""
        out, size = self._out, self._size
        if not out:
            return
        self._out, self._size = [], 0
        if self.peer.has_room(size):
            self.peer.write_records([record for _, _, record in out])
            return
        for topic, offset, _ in out:
            if self in topic.followers:
                self.want(topic, offset)
