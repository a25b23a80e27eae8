"""A topic, as the keeper has it: its messages, and which workers use and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.records import Kind, encode_record
from fastws.pubsub.history import History
from fastws.pubsub.keeper.records import Begin, Declaration, begin_record, kept_record
from fastws.pubsub.sequenced import SequencedTopic

if TYPE_CHECKING:
    from fastws.pubsub.events import Position
    from fastws.pubsub.keeper.member import Member
    from fastws.pubsub.sequencer import Sequencer

__all__ = ["KeptTopic"]

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
        ValueError: A topic with a history cannot have this name.
    """

    __slots__ = ("_sequencer", "declaration", "followers", "key", "topic", "users")

    def __init__(self, key: bytes, declaration: Declaration, sequencer: Sequencer) -> None:
        _, name = names_of(key)
        self.key = key
        self._sequencer = sequencer
        self.declaration = declaration
        self.topic: SequencedTopic = sequencer.make(name, declaration.topic_class(name))
        #: Who declares it as it is, and who is sent what is new.
        self.users: set[Member] = set()
        self.followers: set[Member] = set()

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

    def end(self) -> None:
        """Do nothing: the process ends (a follower's part)."""

    def redeclare(self, declaration: Declaration) -> None:
        """Take other settings, which nobody minds: what is kept stays, as far as they allow."""
        self.declaration = declaration
        topic, settings = self.topic, declaration.settings
        before = topic.history
        topic.history = after = History(settings["history"], settings["history_bytes"], settings["ttl"])
        after.begin(before.first, before.expired_to)
        for offset in range(before.first, before.next):
            after.append(before.frames(offset, 1, 1)[0], before.time_of(offset))

    def published(self, once: str) -> Position | None:
        """Return where the message with this id is; None where there was none lately."""
        return self._sequencer.published(self.topic.name, once)

    def remember(self, once: str, at: Position) -> None:
        """Note where the message with this id is."""
        self._sequencer.remember(self.topic.name, once, at)

    # -- its messages ---------------------------------------------------------------------------

    def keep(self, frames: list[bytes], body: bytes) -> int:
        """Number messages, which are ``body`` together, for all followers; return the first's offset."""
        history, now = self.topic.history, self._sequencer.time()
        first = history.next
        for frame in frames:
            history.append(frame, now)
        if not self.topic.is_watched:
            self._sequencer.watch(self.topic)
        if self.followers:
            record = encode_record(NUMBERED, 0, self.key, len(frames), first, body)
            for member in self.followers:
                member.add(self, first, record)
        return first

    def tell_gap(self, count: int) -> None:
        """Tell all followers that a worker has dropped messages."""
        record = encode_record(Kind.GAP, 0, self.key, count, 0)
        for member in self.followers:
            member.add(self, self.topic.history.next, record)

    def records(self, offset: int, asked_at: int) -> list[bytes]:
        """Return what a worker is sent that has nothing from ``offset`` on, and asked at ``asked_at``."""
        topic = self.topic
        topic.expire()
        history, now = topic.history, self._sequencer.time()
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
