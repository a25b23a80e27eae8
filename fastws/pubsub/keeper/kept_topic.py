"""A topic, as the keeper has it: what it keeps, and which workers use and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.records import Kind, Record, split_frames
from fastws.pubsub.history import History
from fastws.pubsub.keeper.records import Begin, Declaration, begin_record, kept_record
from fastws.pubsub.sequenced import SequencedTopic

if TYPE_CHECKING:
    from fastws.pubsub.events import Position
    from fastws.pubsub.keeper.member import Member
    from fastws.pubsub.numbered import NumberedTopic
    from fastws.pubsub.sequencer import Sequencer

__all__ = ["KEPT_BYTES", "KEPT_MESSAGES", "KeptStream", "KeptTopic"]

#: One record has so many bytes of messages that were kept, or one message more.
KEPT_BYTES = 256 * 1024
KEPT_MESSAGES = 4096
NUMBERED = int(Kind.NUMBERED)


class KeptTopic:
    """Numbers and keeps what is published.

    Args:
        key: The names of its hub and of the topic.
        declaration: Its settings.
        sequencer: That of its hub.

    Raises:
        ValueError: A numbered topic cannot have this name.
    """

    __slots__ = ("declaration", "followers", "key", "sequencer", "topic", "users")

    topic: NumberedTopic

    def __init__(self, key: bytes, declaration: Declaration, sequencer: Sequencer) -> None:
        self.key = key
        self.sequencer = sequencer
        self.declaration = declaration
        self.make()
        #: Who declares it as it is, and who is sent what is new.
        self.users: set[Member] = set()
        self.followers: set[Member] = set()

    def make(self) -> None:
        """Begin a life of the topic."""
        _, name = names_of(self.key)
        self.topic = self.sequencer.make(name, self.declaration.topic_class(name))

    # -- who uses it ----------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """Take a worker that has declared this topic as it is."""
        if not self.users:
            self.topic.followers.append(self)  # so that it is not forgotten
            self.topic.use()
        self.users.add(member)
        member.topics[self.key] = self

    def leave(self, member: Member) -> None:
        """A worker uses it no more."""
        if member not in self.users:
            return
        self.users.discard(member)
        member.unfollow(self)
        del member.topics[self.key]
        if not self.users:
            self.topic.unfollow(self)

    def wake(self) -> None:
        """Do nothing: what is new is told at the end of the turn (a follower's part)."""

    def end(self) -> None:
        """Do nothing: the process ends (a follower's part)."""

    # -- what it keeps --------------------------------------------------------------------------

    def published(self, once: str) -> Position | None:
        """Return where the message with this id is; None where there was none lately."""
        return self.sequencer.published(self.topic.name, once)

    def remember(self, once: str, at: Position) -> None:
        """Note where the message with this id is."""
        self.sequencer.remember(self.topic.name, once, at)

    def next_offset(self) -> int:
        """Return the number of the next message or change."""
        return self.topic.last_position().offset + 1

    def tell_gap(self, count: int) -> None:
        """Tell all followers that a worker has dropped messages."""
        record = Record(Kind.GAP, 0, self.key, count, 0)
        for member in self.followers:
            member.add(self, self.next_offset(), record)

    def redeclare(self, declaration: Declaration) -> None:
        """Take other settings, which nobody minds: what is kept stays, as far as they allow."""
        raise NotImplementedError

    def publish(self, body: bytes, count: int) -> None:
        """Number what a worker publishes. Raises :class:`BadRecord`, and for one change :class:`KeysFull`."""
        raise NotImplementedError

    def tell(self) -> None:
        """Tell followers at the end of a turn what was not told at once."""

    def records(self, offset: int, asked_at: int) -> list[bytes]:
        """Return what a worker is sent that has nothing from ``offset`` on, and asked at ``asked_at``."""
        raise NotImplementedError


class KeptStream(KeptTopic):
    """One with a history."""

    __slots__ = ()

    topic: Any

    def redeclare(self, declaration: Declaration) -> None:
        self.declaration = declaration
        topic, settings = self.topic, declaration.settings
        assert isinstance(topic, SequencedTopic)
        before = topic.history
        topic.history = after = History(settings["history"], settings["history_bytes"], settings["ttl"])
        after.begin(before.first, before.expired_to)
        for offset in range(before.first, before.next):
            after.append(before.frames(offset, 1, 1)[0], before.time_of(offset))

    def publish(self, body: bytes, count: int) -> None:
        frames = split_frames(body, count)
        history, now = self.topic.history, self.sequencer.time()
        first = history.next
        for frame in frames:
            history.append(frame, now)
        self.topic.changed()
        if self.followers:
            record = Record(NUMBERED, 0, self.key, count, first, body)
            for member in self.followers:
                member.add(self, first, record)

    def records(self, offset: int, asked_at: int) -> list[bytes]:
        topic = self.topic
        history, now = topic.history, self.sequencer.time()
        first = min(max(history.first, offset), history.next)
        expired_to = min(history.expired_to, history.next - 1)
        begin = Begin(topic.epoch, first, history.next, asked_at, expired_to)
        records = [begin_record(self.key, begin)]
        while first < history.next:
            frames = history.frames(first, KEPT_BYTES, KEPT_MESSAGES)
            ages = [max(now - history.time_of(first + index), 0.0) for index in range(len(frames))]
            records.append(kept_record(self.key, first, frames, ages))
            first += len(frames)
        return records
