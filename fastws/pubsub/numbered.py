# cython: annotation_typing=False
"""What topics with a history and keyed topics share: numbers without holes, and clients that are behind.

Who keeps up is among the ``subscribers``, and is given what is published when the turn ends. Everybody else
has a *place* from where it reads on: a client that is ``behind``, or one of the ``followers``. What a place
is, only the topic knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.events import Position
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.events import Event, Synced
    from fastws.pubsub.wishes import Wish

__all__ = ["NumberedTopic", "count_resumed", "tell_gap"]


def tell_gap(ws: Any, topic: str, missed: int | None, reason: str) -> bool:
    """Tell the handler of ``ws`` that messages of a topic do not come; False when there is none to tell."""
    tell = getattr(ws, "tell_gap", None)
    told: bool = tell is not None and tell(topic, missed, reason)
    return told


def count_resumed(subscriber: Any, synced: Synced) -> None:
    """Count for the access log a subscription that goes on where another connection had ended."""
    if synced.resumed and hasattr(subscriber.outbox, "resumed"):
        subscriber.outbox.resumed += 1


class NumberedTopic(Topic):
    """The lower part of both."""

    __slots__ = (
        "_sequencer",
        "behind",
        "epoch",
        "followers",
        "is_idle",
        "is_live",
        "is_shared",
        "look_at",
    )

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, epoch: str) -> None:
        Topic.__init__(self, name, settings.merge, settings.policy, settings.deflate)
        self.sequenced = True
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
        #: The sequencer's mark: nobody uses this topic, and it keeps nothing.
        self.is_idle = False
        #: When the sequencer sees to what expires; 0 where nothing does.
        self.look_at = 0.0

    # -- what each of them does in its way ------------------------------------------------------

    def is_empty(self) -> bool:
        """True when nothing is kept."""
        raise NotImplementedError

    def expire(self) -> None:
        """Forget what is too old now."""
        raise NotImplementedError

    def next_expiry(self) -> float | None:
        """Return when something will be too old; None where nothing ever is."""
        raise NotImplementedError

    def last_position(self) -> Position:
        """Return the position behind the last message or change."""
        raise NotImplementedError

    def place_of(self, batch: list[Publication]) -> Any:
        """Return the place of who has not been given ``batch``, which is the end of this turn's."""
        raise NotImplementedError

    def position_at(self, place: Any) -> Position:
        """Return the position of who reads on at a place."""
        raise NotImplementedError

    def skip_forgotten(self, place: Any) -> tuple[Any, int]:
        """Return where reading goes on, and how many messages were forgotten before that."""
        raise NotImplementedError

    def read(self, place: Any) -> tuple[list[bytes], Any]:
        """Return frames from a place on, about 64 KiB, and the place behind them."""
        raise NotImplementedError

    def is_end(self, place: Any) -> bool:
        """True where who reads on there may be given what is published next."""
        raise NotImplementedError

    def join_at(self, since: Position | None, recent: int) -> tuple[Synced, Any]:
        """Return where a client that joins begins, and its place."""
        raise NotImplementedError

    def start(self, since: Position | None) -> tuple[Event, Any]:
        """Return what a follower is told first, and its place."""
        raise NotImplementedError

    def step(self, place: Any) -> tuple[Event | None, Any]:
        """Return the next event of a follower, None where there is none yet, and the place behind it."""
        raise NotImplementedError

    # -- who uses it ----------------------------------------------------------------------------

    def can_sync(self, since: Position | None) -> bool:
        """True when it is known here where who asks for all that came since a position begins."""
        return True

    def wait(self, who: Any, wish: Wish) -> None:
        """Let a client or a follower wait until that is known."""
        raise NotImplementedError

    def position(self, offset: int) -> Position:
        """Return the position behind the message or change at ``offset``."""
        return Position(self.epoch, offset)

    def changed(self) -> None:
        """It keeps something new: it must not be forgotten."""
        self.use()
        if not self.look_at:
            self._sequencer.watch(self)

    def wake_followers(self) -> None:
        """There is something to take."""
        for follower in self.followers:
            follower.wake()

    def listeners(self) -> int:
        listeners = len(self.subscribers) + len(self.behind) + self.paced()
        return listeners if self.view is None else listeners + self.view.listeners()

    def tell_gap(self, subscriber: Any, missed: int | None, reason: str) -> bool:
        """Tell a client, before its next message, what does not come; False when there is none to tell."""
        return tell_gap(subscriber.ws, self.name, missed, reason)

    def tell_sync(self, subscriber: Any, synced: Synced) -> bool:
        """Tell a client where its subscription goes on, or at least what it has missed.

        False when there is none to tell, and something was missed.
        """
        count_resumed(subscriber, synced)
        tell = getattr(subscriber.ws, "tell_sync", None)
        if tell is not None and tell(synced):
            return True
        return synced.reason is None or self.tell_gap(subscriber, synced.missed, synced.reason)

    def caught_up(self, subscriber: Any) -> None:
        """A client that was behind has been given everything."""
        if self.presence is not None:
            self.presence.caught_up(subscriber)

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
        if not (self.subscribers or self.behind or self.followers or self.view) and self.is_empty():
            self._sequencer.rest(self)
