# cython: annotation_typing=False
"""A topic that keeps its last messages, each at a position, for who joins, returns or is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.history import History
from fastws.pubsub.notes import frame_of
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass

__all__ = ["SequencedTopic", "tell_gap"]


def tell_gap(ws: Any, topic: str, missed: int, reason: str) -> bool:
    """Tell the handler of ``ws`` that messages of a topic do not come; False when there is none to tell."""
    tell = getattr(ws, "tell_gap", None)
    told: bool = tell is not None and tell(topic, missed, reason)
    return told


class SequencedTopic(Topic):
    """Who keeps up is among its ``subscribers``, and is given what is published when the turn ends.

    Everybody else is a position: a client that is ``behind``, or one of its ``followers``.
    """

    __slots__ = ("_sequencer", "behind", "epoch", "followers", "history", "is_idle", "is_watched")

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, epoch: str) -> None:
        Topic.__init__(self, name, settings.merge, settings.policy, settings.deflate)
        self.sequenced = True
        self.history = History(settings.history, settings.history_bytes, settings.ttl)
        #: Names this life of the topic.
        self.epoch = epoch
        #: Subscribers that have not been given everything (:mod:`fastws.pubsub.cursors`).
        self.behind: dict[Any, None] = {}
        self.followers: list[Any] = []
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

    def frames(self, offset: int, max_bytes: int, max_messages: int) -> list[bytes]:
        """Return what a client is sent from ``offset`` on; as :meth:`History.frames`."""
        return [frame_of(kept) for kept in self.history.frames(offset, max_bytes, max_messages)]

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
        listeners = len(self.subscribers) + len(self.behind)
        return listeners if self.view is None else listeners + self.view.listeners()

    def tell_gap(self, subscriber: Any, missed: int, reason: str) -> bool:
        """Tell a client, before its next message, what does not come; False when there is none to tell."""
        return tell_gap(subscriber.ws, self.name, missed, reason)

    def caught_up(self, subscriber: Any) -> None:
        """A client that was behind has been given everything."""

    def remove(self, subscriber: object) -> None:
        self.subscribers.pop(subscriber, None)
        self.behind.pop(subscriber, None)
        self.rest()

    def use(self) -> None:
        """Somebody uses it: it must not be forgotten."""
        if self.is_idle:
            self._sequencer.wake(self)

    def rest(self) -> None:
        """Let the sequencer forget this topic when it has too many that nobody uses."""
        if (
            not (self.subscribers or self.behind or self.followers or self.view)
            and self.history.first == self.history.next
        ):
            self._sequencer.rest(self)
