# cython: annotation_typing=False
"""A topic that keeps its last messages, each at a position, for who joins, returns or is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.history import History
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass

__all__ = ["SequencedTopic"]


class SequencedTopic(Topic):
    """Who keeps up is among its ``subscribers``, and is given what is published when the turn ends.

    Everybody else is a position: a client that is ``behind``, or one of its ``followers``.
    """

    __slots__ = (
        "_sequencer",
        "behind",
        "epoch",
        "followers",
        "history",
        "is_idle",
        "is_live",
        "is_shared",
        "is_watched",
    )

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, epoch: str) -> None:
        Topic.__init__(self, name, settings.merge, settings.policy, settings.deflate)
        self.sequenced = True
        self.history = History(settings.history, settings.history_bytes, settings.ttl)
        #: Names this life of the topic.
        self.epoch = epoch
        #: Subscribers that have not been given everything (:mod:`fastws.pubsub.cursors`).
        self.behind: dict[Any, None] = {}
        self.followers: list[Any] = []
        #: True when another process numbers its messages (:mod:`fastws.pubsub.keeper`); and while what is
        #: kept here is all that is kept there.
        self.is_shared = False
        self.is_live = True
        self._sequencer = sequencer
        #: The sequencer's marks: nobody uses this topic and nothing is kept; it looks when messages expire.
        self.is_idle = False
        self.is_watched = False

    def keep(self, frame: bytes) -> None:
        """Give a message that is published its position."""
        self.history.append(frame, self._sequencer.time())
        self.use()
        if not self.is_watched:
            self._sequencer.watch(self)
        for follower in self.followers:
            follower.wake()

    def expire(self) -> None:
        """Forget what is too old now."""
        self.history.expire(self._sequencer.time())

    def position(self, offset: int) -> Position:
        """Return the position behind the message at ``offset``."""
        return Position(self.epoch, offset)

    def offset_of(self, publication: Publication) -> int:
        """Return the offset of a publication of this turn."""
        batch = self.batch
        index = 0
        while batch[index] is not publication:
            index += 1
        return self.history.next - (len(batch) - index)

    def can_sync(self, since: Position | None) -> bool:
        """True when it is known here where who asks for all messages since a position begins."""
        return True

    def wait(self, who: Any, since: Position | None, recent: int) -> None:
        """Let a client or a follower wait until it is known where it begins; see :meth:`can_sync`."""
        raise NotImplementedError

    def sync(self, since: Position | None, recent: int) -> Synced:
        """Return where who asks for all messages since a position, or for the last ``recent``, begins."""
        self.expire()
        history = self.history
        first, last = history.first, history.next - 1
        newcomer = self.position(max(last - recent, first - 1))
        if since is None:
            return Synced(self.name, newcomer)
        if since.epoch != self.epoch:
            return Synced(self.name, newcomer, resumed=False, missed=None, reason="epoch")
        if since.offset > last:
            return Synced(self.name, newcomer, resumed=False, missed=None, reason="future")
        missed = first - 1 - since.offset
        if missed > 0:
            at = self.position(first - 1)
            return Synced(self.name, at, resumed=False, missed=missed, reason=history.why_dropped())
        return Synced(self.name, since, resumed=True)

    def listeners(self) -> int:
        return len(self.subscribers) + len(self.behind)

    def remove(self, subscriber: object) -> None:
        self.subscribers.pop(subscriber, None)
        self.behind.pop(subscriber, None)
        self.rest()

    def unfollow(self, follower: object) -> None:
        """Bring ``follower`` nothing more."""
        self.followers.remove(follower)
        self.rest()

    def use(self) -> None:
        """Somebody uses it: it must not be forgotten."""
        if self.is_idle:
            self._sequencer.wake(self)

    def rest(self) -> None:
        """Let the sequencer forget this topic when it has too many that nobody uses."""
        if (
            not (self.subscribers or self.behind or self.followers)
            and self.history.first == self.history.next
        ):
            self._sequencer.rest(self)
