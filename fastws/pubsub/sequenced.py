# cython: annotation_typing=False
"""A topic that keeps its last messages, each at a position, for who joins, returns or is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.events import Gap, Message, Position, Synced
from fastws.pubsub.history import NEVER_SECONDS, History
from fastws.pubsub.notes import frame_of
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.recoveries import recovered

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.events import Event

__all__ = ["SequencedTopic"]

#: What a reader is given at once.
CHUNK_BYTES = 64 * 1024
CHUNK_MESSAGES = 1024


class SequencedTopic(NumberedTopic):
    """A place in it is the offset of the next message."""

    __slots__ = ("history", "recent")

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, epoch: str) -> None:
        NumberedTopic.__init__(self, name, settings, sequencer, epoch)
        self.history = History(settings.history, settings.history_bytes, settings.ttl)
        self.recent = settings.recent

    def keep(self, frame: bytes) -> None:
        """Give a message that is published its position."""
        self.history.append(frame, self._sequencer.time())
        self.changed()
        for follower in self.followers:
            follower.wake()

    def kept_bytes(self) -> int:
        return self.history.size

    def is_empty(self) -> bool:
        return self.history.first == self.history.next

    def expire(self) -> None:
        self.history.expire(self._sequencer.time())

    def next_expiry(self) -> float | None:
        history = self.history
        if history.first == history.next or history.ttl >= NEVER_SECONDS:
            return None
        return history.oldest() + history.ttl

    def last_position(self) -> Position:
        return self.position(self.history.next - 1)

    def frames(self, offset: int, max_bytes: int, max_messages: int) -> list[bytes]:
        """Return what a client is sent from ``offset`` on; as :meth:`History.frames`."""
        return [frame_of(kept) for kept in self.history.frames(offset, max_bytes, max_messages)]

    def place_of(self, batch: list[Publication]) -> Any:
        return self.offset_of(batch[0])

    def offset_of(self, publication: Publication) -> int:
        """Return the offset of a publication of this turn."""
        batch = self.batch
        index = 0
        while batch[index] is not publication:
            index += 1
        return self.history.next - (len(batch) - index)

    def position_at(self, place: Any) -> Position:
        return self.position(place - 1)

    def skip_forgotten(self, place: Any) -> tuple[Any, int]:
        self.expire()
        first = self.history.first
        return (place, 0) if place >= first else (first, first - place)

    def read(self, place: Any) -> tuple[list[bytes], Any]:
        frames = self.frames(place, CHUNK_BYTES, CHUNK_MESSAGES)
        return frames, place + len(frames)

    def is_end(self, place: Any) -> bool:
        return bool(place == self.history.next)

    def sync(self, since: Position | None, recent: int) -> Synced:
        """Return where who asks for all messages since a position, or for the last ``recent``, begins."""
        self.expire()
        history = self.history
        first, last = history.first, history.next - 1
        newcomer = self.position(max(last - recent, first - 1))
        if since is None:
            return Synced(self.name, newcomer)
        if since.epoch != self.epoch:
            return recovered(Synced(self.name, newcomer, resumed=False, missed=None, reason="epoch"))
        if since.offset > last:
            return recovered(Synced(self.name, newcomer, resumed=False, missed=None, reason="future"))
        missed = first - 1 - since.offset
        if missed > 0:
            at = self.position(first - 1)
            reason = history.why_dropped()
            return recovered(Synced(self.name, at, resumed=False, missed=missed, reason=reason))
        return recovered(Synced(self.name, since, resumed=True))

    def join_at(self, since: Position | None, recent: int) -> tuple[Synced, Any]:
        synced = self.sync(since, recent)
        return synced, synced.at.offset + 1

    def start(self, since: Position | None) -> tuple[Event, Any]:
        synced = self.sync(since, 0)
        return synced, synced.at.offset + 1

    def step(self, place: Any) -> tuple[Event | None, Any]:
        self.expire()
        history = self.history
        missed = history.first - place
        if missed > 0:
            return Gap(self.name, missed, "slow"), history.first
        if place == history.next:
            return None, place
        (frame,) = self.frames(place, 1, 1)
        message = Publication(self, 0, None, frame).message
        return Message(self.name, message, self.position(place)), place + 1
