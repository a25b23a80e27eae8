"""What follows topics with a history inside of the process: a cursor of its own for each, and no queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fastws.pubsub.events import Ended, Event, Position
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.taker import Taker
from fastws.pubsub.wishes import Wish

__all__ = ["Follower"]


class Follower:
    """Brings what topics with a history or keys publish, and what was before: made by ``hub.follow``.

    Use it as ``async with hub.follow(...) as events: async for event in events: ...``. It begins with one
    :class:`fastws.Synced` for each topic. (Where workers share the hub, another one follows when the process
    that numbers the messages has begun anew.) Then comes a :class:`fastws.Message` for each message, and a
    :class:`fastws.Gap` where the history forgot messages before they were taken. Of a keyed topic come a
    :class:`fastws.Message` for each key that holds something, a :class:`fastws.Live`, and then what changes:
    a :class:`fastws.Message`, or a :class:`fastws.Removed`. Of a key that changed several times before it
    was taken only the last value comes. When the hub is closed
    there is one :class:`fastws.Ended` for each topic, and the iteration ends; for a topic that a broker
    refuses there is one with the reason ``"unavailable"``. Each topic is in its own
    order; topics take turns.

    Nothing is queued: a message is read from the history when it is taken. Cancelling a step loses nothing.
    It belongs to the hub's loop, and one coroutine at a time may take events: for another one a step raises
    :class:`fastws.ConcurrencyError`. Outside of its block it raises ``RuntimeError``. In another
    block it goes on where it was.
    """

    __slots__ = ("_begin", "_closing", "_left", "_order", "_places", "_said", "_taker")

    def __init__(self, begin: Callable[[Follower], None]) -> None:
        #: Starts it: sees to the positions when the block begins.
        self._begin = begin
        #: Where it reads on in each topic; None outside of the block.
        self._places: dict[NumberedTopic, Any] | None = None
        #: Whose turn it is.
        self._order: deque[NumberedTopic] = deque()
        #: What comes before messages.
        self._said: deque[Event] = deque()
        self._closing = False
        #: Where it was when its block ended.
        self._left: dict[str, Position] = {}
        self._taker = Taker()

    @property
    def positions(self) -> dict[str, Position]:
        """For each topic the position behind what was taken: where to follow on, as ``since=``."""
        if self._places is None:
            return dict(self._left)
        places = self._places.items()
        return {topic.name: topic.position_at(place) for topic, place in places if place is not None}

    async def __aenter__(self) -> Follower:
        if self._places is not None:
            raise RuntimeError("this follower is used already")
        self._places = {}
        self._closing = False
        self._begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left |= self.positions
        topics, self._places = self._places or {}, None
        for topic in topics:
            topic.unfollow(self)
        self._order.clear()
        self._said.clear()
        self.wake()

    def __aiter__(self) -> Follower:
        """Iterate over events until the hub is closed."""
        return self

    async def __anext__(self) -> Event:
        await self._taker.begin()
        while self._places is not None:
            event = self._next()
            if event is not None:
                return event
            if self._closing:
                raise StopAsyncIteration
            await self._taker.wait()
        raise RuntimeError("a follower is used in its block: async with hub.follow(...) as events")

    def _next(self) -> Event | None:
        """Return the next event; None when there is none yet, or never."""
        if self._said:
            return self._said.popleft()
        for _ in range(len(self._order)):
            topic = self._order[0]
            self._order.rotate(-1)
            event = self._next_of(topic)
            if event is not None:
                return event
        if self._closing and self._order:
            return Ended(self._order.popleft().name, "closed")
        return None

    def _next_of(self, topic: NumberedTopic) -> Event | None:
        assert self._places is not None
        place = self._places[topic]
        if place is None:
            return None
        event, self._places[topic] = topic.step(place)
        return event

    # -- for the hub ----------------------------------------------------------------------------

    def add(self, topic: NumberedTopic, since: Position | None) -> None:
        """Follow a topic, from where it was in another block, from a position or from now on."""
        since = self._left.get(topic.name, since)
        self.wait(topic)
        self._order.append(topic)
        topic.followers.append(self)
        topic.use()
        if topic.can_sync(since):
            self.begin_at(topic, *topic.start(since))
        else:
            topic.wait(self, Wish(since))

    def wait(self, topic: NumberedTopic) -> None:
        """Take nothing of a topic until it is known from where on."""
        assert self._places is not None
        self._places[topic] = None

    def begin_at(self, topic: NumberedTopic, first: Event, place: Any) -> None:
        """Take what comes of a topic from a place on, behind a first event."""
        assert self._places is not None
        self._places[topic] = place
        self.say(first)

    def say(self, event: Event) -> None:
        """Bring ``event`` before what comes next of any topic."""
        self._said.append(event)
        self.wake()

    def wake(self) -> None:
        """There is something to take."""
        self._taker.wake()

    def end_topic(self, topic: NumberedTopic, reason: str) -> None:
        """Nothing more comes of a topic. Without another one the iteration ends."""
        assert self._places is not None
        topic.unfollow(self)
        del self._places[topic]
        self._order.remove(topic)
        self._closing = self._closing or not self._order
        self.say(Ended(topic.name, reason))

    def end(self) -> None:
        """The hub is closed: what was published before still comes."""
        self._closing = True
        self.wake()
