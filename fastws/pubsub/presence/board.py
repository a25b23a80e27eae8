"""Who is here, of one topic: which clients are seen as whom, and which are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.config import SlowConsumerPolicy
from fastws.connection.publication import Publication
from fastws.loop.timers import Timed
from fastws.pubsub.classes import PresenceMode
from fastws.pubsub.events import Presence
from fastws.pubsub.presence.news import News
from fastws.pubsub.presence.people import People
from fastws.pubsub.presence.shown import NOTHING, Shown
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.protocol.websocket.deflate import DeflatePool
    from fastws.pubsub.fanout import Subscriber

__all__ = ["OURS", "TELL_SECONDS", "Board"]

#: The owner of what this process counts.
OURS = ""
#: Between two messages to the same client.
TELL_SECONDS = 0.5


class Beat(Timed):
    """Tells what is new, at most twice a second."""

    __slots__ = ("_board", "due", "wheel")

    def __init__(self, board: Board) -> None:
        self.tick = 0
        self._board = board
        #: The wheel that it is in, and when it may tell next.
        self.wheel: Any = None
        self.due = 0.0

    def on_timer(self, now: float) -> float | None:
        self.due = now + TELL_SECONDS
        return self.due if self._board.tell() else None


class Tabs:
    """The connections of one member here."""

    __slots__ = ("info", "leaving", "open", "taken_over")

    def __init__(self) -> None:
        self.info = NOTHING
        self.open = 0
        #: Those that have ended, and still count; and ended ones in whose place another has come.
        self.leaving = 0
        self.taken_over = 0

    def count(self) -> int:
        """Return how many count."""
        return self.open + self.leaving


class Board(Topic):
    """It stands among the topics of each client that it knows, so that it hears when one leaves.

    As a topic it publishes nothing. What is new goes to the subscribers of ``told``; a client that has been
    told nothing yet, or has missed something, is a newcomer, which is told all with the next beat.
    """

    __slots__ = (
        "__weakref__",
        "_beat",
        "_hub",
        "_seen",
        "_tabs",
        "mode",
        "newcomers",
        "news",
        "people",
        "told",
    )

    def __init__(self, name: str, mode: PresenceMode, deflate: DeflatePool | None, hub: Any) -> None:
        Topic.__init__(self, name, None, SlowConsumerPolicy.EVICT, None)
        self.mode = mode
        #: The :class:`fastws.pubsub.presence.presences.Presences` of the hub.
        self._hub = hub
        self.people = People()
        self.news = News(self.name, self.people, mode)
        self.told = Topic(name, None, SlowConsumerPolicy.EVICT, deflate)
        self.newcomers: dict[Any, None] = {}
        self._seen: dict[Any, Shown] = {}
        self._tabs: dict[str, Tabs] = {}
        self._beat = Beat(self)

    def is_used(self) -> bool:
        """True while clients here are seen or told."""
        return bool(self._seen or self._tabs or self.newcomers or self.told.subscribers)

    def everybody(self) -> Presence:
        """Return who is here."""
        members = None
        if self.mode is PresenceMode.LIST:
            members = tuple(person.member() for person in self.people)
        return Presence(self.name, len(self.people), members)

    # -- who is seen ----------------------------------------------------------------------------

    def show(self, subscriber: Subscriber, shown: Shown | None) -> None:
        """Let a client be seen as ``shown`` from now on; None: as nobody."""
        before = self._seen.pop(subscriber, None)
        if shown is not None:
            if self.mode is PresenceMode.COUNT:
                shown = Shown(shown.id)
            self._hub.use(self)
            self._seen[subscriber] = shown
            subscriber.topics[self] = None
        if before == shown:
            return
        if before is not None and shown is not None and before.id == shown.id:
            tabs = self._tabs[shown.id]
            tabs.info = shown.info
            self._count(shown.id, tabs)
            return
        if shown is not None:
            self._open(shown)
        if before is not None:
            self._leave(before)

    def _open(self, shown: Shown) -> None:
        tabs = self._tabs.get(shown.id)
        if tabs is None:
            self._tabs[shown.id] = tabs = Tabs()
        tabs.open += 1
        tabs.info = shown.info
        if tabs.leaving:  # a page was loaded again
            tabs.leaving -= 1
            tabs.taken_over += 1
        self._count(shown.id, tabs)

    def _leave(self, shown: Shown) -> None:
        tabs = self._tabs[shown.id]
        tabs.open -= 1
        tabs.leaving += 1
        self._hub.leave_later(self, shown.id, tabs)

    def has_left(self, id: str, tabs: Tabs) -> None:
        """The oldest connection of a member that has ended counts no more."""
        if tabs.taken_over:
            tabs.taken_over -= 1
            return
        tabs.leaving -= 1
        if not tabs.count():
            del self._tabs[id]
        self._count(id, tabs)

    def _count(self, id: str, tabs: Tabs) -> None:
        person = self.people.find(id)
        count = tabs.count()
        if person is not None and count and person.said_by(OURS) == (count, tabs.info):
            return
        self.people.put(OURS, id, count, tabs.info)
        self._hub.changed(self, id)
        self.tell_soon()

    # -- who is told ----------------------------------------------------------------------------

    def tell_all(self, subscriber: Subscriber) -> None:
        """Tell a client of a feed, which listens to the topic, who is here; and from then on what is new."""
        if subscriber not in self.told.subscribers:
            self._hub.use(self)
            self.newcomers[subscriber] = None
            subscriber.topics[self] = None
            self.tell_soon()

    def caught_up(self, subscriber: object) -> None:
        """A client that was behind has been given everything."""
        if subscriber in self.newcomers:
            self.tell_soon()

    def tell_soon(self) -> None:
        """Tell what is new, half a second after the last time or later."""
        if self.newcomers or self.told.subscribers:
            self._hub.set_timer(self._beat)

    def tell(self) -> bool:
        """Tell what is new; True where somebody still waits for all of it."""
        told = self.told
        frame = self.news.take()
        if frame is not None and told.subscribers:
            self._set_aside()
        if frame is not None and told.subscribers:
            seq = next(iter(told.subscribers)).fan_out.add(told)
            told.batch.append(Publication(told, seq, None, frame))
        self._welcome()
        if not told.subscribers:
            self.news.forget()
        return bool(self.newcomers)

    def _set_aside(self) -> None:
        """Queue nothing for who has not taken something else yet: it is told all when it has."""
        told = self.told.subscribers
        for subscriber in [each for each in told if each.outbox.queued]:
            del told[subscriber]
            subscriber.topics.pop(self.told, None)
            self.newcomers[subscriber] = None

    def _welcome(self) -> None:
        """Tell newcomers all, each the same bytes."""
        told = self.told
        batch: list[Publication] = []
        for subscriber in list(self.newcomers):
            if not self._is_ready(subscriber):
                continue
            batch = batch or [Publication(told, 0, None, self.news.all())]
            subscriber.take_published()  # of this turn it is given nothing more
            if self.newcomers.pop(subscriber, self) is None:  # else what it took evicted it
                told.subscribers[subscriber] = None
                subscriber.topics[told] = None
                subscriber.outbox.deliver_batch(told, batch)

    def _is_ready(self, subscriber: Subscriber) -> bool:
        outbox = subscriber.outbox
        return outbox.is_open and not outbox.queued and self._hub.is_live(self.name, subscriber)

    # -- who leaves -----------------------------------------------------------------------------

    def leave(self, subscriber: Subscriber | None) -> None:
        """A client listens to the topic no more, if it did; None: one that has never listened to any."""
        if subscriber is not None:
            subscriber.topics.pop(self, None)
            subscriber.topics.pop(self.told, None)
            self.remove(subscriber)

    def remove(self, subscriber: Any) -> None:
        self.newcomers.pop(subscriber, None)
        told = self.told.subscribers
        if told.pop(subscriber, self) is None and not told:
            self.news.forget()
        shown = self._seen.pop(subscriber, None)
        if shown is not None:
            self._leave(shown)
