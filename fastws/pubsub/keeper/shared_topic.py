"""A topic that the keeper numbers, as a worker has it: a copy of what is kept there, and who waits for it."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.lanes import key_of
from fastws.pubsub.bus.records import BadRecord
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.keeper.records import Begin, Declaration
from fastws.pubsub.sequenced import SequencedTopic

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass

__all__ = ["Copy", "Seat", "SharedTopic"]


class Copy(Enum):
    """What there is of a topic's messages in this process."""

    NONE = "nobody uses it here"
    ASKED = "the keeper shall send what it keeps, and what follows"
    COMING = "what it keeps comes"
    LIVE = "all that is kept is here, and what is new comes"


class Seat(Enum):
    """Whether the keeper takes what this process publishes to a topic."""

    NONE = "it does not know that this process uses it"
    ASKED = "it has been told the settings"
    ACCEPTED = "it does"
    REFUSED = "other processes use it with other settings"


#: A client or a follower, and from where on it asks for messages: ``since`` and ``recent``.
Wish = tuple[Position | None, int]


class SharedTopic(SequencedTopic):
    """Who listens before the copy is here waits for it. It is made by a :class:`SharedSequencer`."""

    __slots__ = (
        "_arrivals",
        "_asked_at",
        "_goal",
        "_shared",
        "client",
        "copy",
        "declaration",
        "hub_name",
        "idle_ticks",
        "is_probed",
        "key",
        "refusal",
        "seat",
        "waiting",
        "wishes",
    )

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, client: Any, hub_name: str) -> None:
        SequencedTopic.__init__(self, name, settings, sequencer, "")
        self.is_shared = True
        self.is_live = False
        self._shared = sequencer
        self.client = client
        self.hub_name = hub_name
        self.key = key_of(hub_name, self.name)
        self.declaration = Declaration.of(settings)
        self.copy = Copy.NONE
        self.seat = Seat.NONE
        #: Why the keeper does not take it.
        self.refusal = ""
        #: Records for the keeper, until it takes this topic.
        self.waiting: list[Any] = []
        #: Those that listen or follow from a place that is not known yet.
        self.wishes: dict[Any, Wish] = {}
        #: The keeper has been asked whether more has come there than here.
        self.is_probed = False
        #: For so many seconds nobody has used the copy.
        self.idle_ticks = 0
        #: The offset of the message after the last one that was kept when the copy was asked for.
        self._goal = self._asked_at = 1
        #: Coroutines that wait for the copy.
        self._arrivals: list[asyncio.Future[None]] = []

    # -- who uses it ----------------------------------------------------------------------------

    def is_used(self) -> bool:
        """True when a copy is needed here."""
        return bool(self.subscribers or self.behind or self.followers or self._arrivals)

    def can_sync(self, since: Position | None) -> bool:
        """True when it is known here; who was at another worker may be ahead of this one.

        What an earlier keeper kept is here until the next one has begun: who returns meanwhile goes on in it.
        """
        return self.is_live and (
            since is None or (since.epoch == self.epoch and since.offset < self.history.next)
        )

    def sync_waiting(self, wish: Wish) -> Synced:
        """Return where one that has waited begins: a newcomer where the topic was when it was asked for."""
        since, recent = wish
        return self.sync(since, recent + self.history.next - self._asked_at)

    def wait(self, who: Any, since: Position | None, recent: int) -> None:
        """Let a client or a follower wait until it is known where it begins."""
        self.wishes[who] = (since, recent)
        self.idle_ticks = 0
        self.use()
        if self.copy is Copy.LIVE:
            self.client.copies.probe(self)
        else:
            self.client.copies.follow(self)

    def remove(self, subscriber: object) -> None:
        self.wishes.pop(subscriber, None)
        SequencedTopic.remove(self, subscriber)

    def unfollow(self, follower: Any) -> None:
        self.wishes.pop(follower, None)
        SequencedTopic.unfollow(self, follower)

    async def arrive(self, timeout: float) -> None:
        """Wait until the copy is here.

        Raises:
            BrokerUnavailable: It is not, within ``timeout`` seconds.
        """
        self.idle_ticks = 0
        if self.copy is Copy.LIVE:
            return
        arrival = asyncio.get_running_loop().create_future()
        self._arrivals.append(arrival)
        self.use()
        self.client.copies.follow(self)
        try:
            await asyncio.wait_for(arrival, timeout)
        except TimeoutError:
            raise BrokerUnavailable(self.why_unavailable(timeout)) from None
        finally:
            self._arrivals.remove(arrival)

    def why_unavailable(self, timeout: float) -> str:
        """Return in words why the keeper has not done something with this topic."""
        if self.seat is Seat.REFUSED:
            return self.refusal
        return f"topic {self.name!r}: no answer of the keeper of histories within {timeout:g} s"

    def time(self) -> float:
        """Return the time, as messages have it."""
        now: float = self._shared.time()
        return now

    # -- the copy -------------------------------------------------------------------------------

    def lose_copy(self) -> None:
        """The keeper is gone, or sends no more: what is here is all that will be of this epoch."""
        if self.copy is not Copy.NONE:
            self.copy = Copy.ASKED
        self.seat = Seat.NONE
        self.is_probed = False
        if not self.is_complete():
            self.is_live = False

    def drop_copy(self) -> None:
        """Nobody uses it any more."""
        self.copy = Copy.NONE
        self.is_live = False
        self.is_probed = False
        self.history.begin(1, 0)
        self.epoch = ""
        self.rest()

    def begin(self, begin: Begin) -> int:
        """Take what the keeper says before it sends what it keeps; return how many messages of the same epoch
        will not come."""
        history = self.history
        missed = 0
        if begin.epoch == self.epoch:
            missed = max(begin.first - history.next, 0)
        if missed or begin.epoch != self.epoch:
            history.begin(begin.first, begin.expired_to)
            self.epoch = begin.epoch
        elif begin.first < history.next:
            raise BadRecord("what is here already, or what was never asked for")
        self.copy = Copy.COMING
        self.is_live = self.is_probed = False
        self._goal, self._asked_at = begin.next, begin.asked_at
        return missed

    def take_probe(self, offset: int) -> None:
        """The keeper says which offset was the next one; what is before it is here."""
        self.is_probed = False
        self._asked_at = min(offset, self.history.next)

    def restore(self, frame: bytes, time: float) -> None:
        """Keep a message that came at that time."""
        self.history.append(frame, time)
        if not self.is_watched:
            self._shared.watch(self)
        for follower in self.followers:
            follower.wake()

    def is_complete(self) -> bool:
        """True when all has come that was kept."""
        return self.history.next >= self._goal

    def go_live(self) -> None:
        """All is here that was kept."""
        self.copy = Copy.LIVE
        self.is_live = True
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(None)
