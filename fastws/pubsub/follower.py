"""What follows topics with a history inside of the process: a cursor of its own for each, and no queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType

from fastws.connection.publication import Publication
from fastws.errors import ConcurrencyError
from fastws.pubsub.events import Ended, Event, Gap, Message, Position, Synced
from fastws.pubsub.sequenced import SequencedTopic

__all__ = ["Follower"]

#: Events after which a coroutine that takes them without ever waiting lets others run.
EVENTS_AT_ONCE = 64
#: In place of the offset of a topic of which it is not known yet where it begins.
UNKNOWN = -1


class Follower:
    """Brings what topics with a history publish, and what was published before: made by ``hub.follow``.

    Use it as ``async with hub.follow(...) as events: async for event in events: ...``. It begins with one
    :class:`fastws.Synced` for each topic. (Where workers share the hub, another one follows when the process
    that numbers the messages has begun anew.) Then comes a :class:`fastws.Message` for each message, and a
    :class:`fastws.Gap` where the history forgot messages before they were taken. When the hub is closed
    there is one :class:`fastws.Ended` for each topic, and the iteration ends. Each topic is in its own
    order; topics take turns.

    Nothing is queued: a message is read from the history when it is taken. Cancelling a step loses nothing.
    It belongs to the hub's loop, and one coroutine at a time may take events: for another one a step raises
    :class:`fastws.ConcurrencyError`. Outside of its block it raises ``RuntimeError``.
    """

    __slots__ = ("_begin", "_closing", "_offsets", "_order", "_said", "_taken", "_waiter")

    def __init__(self, begin: Callable[[Follower], None]) -> None:
        #: Starts it: sees to the positions when the block begins.
        self._begin = begin
        #: The offset of the next message; None outside of the block.
        self._offsets: dict[SequencedTopic, int] | None = None
        #: Whose turn it is.
        self._order: deque[SequencedTopic] = deque()
        #: What comes before messages.
        self._said: deque[Event] = deque()
        self._closing = False
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def positions(self) -> dict[str, Position]:
        """For each topic the position behind what was taken: where to follow on, as ``since=``."""
        offsets = (self._offsets or {}).items()
        return {topic.name: topic.position(offset - 1) for topic, offset in offsets if offset != UNKNOWN}

    async def __aenter__(self) -> Follower:
        if self._offsets is not None:
            raise RuntimeError("this follower is used already")
        self._offsets = {}
        self._begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        topics, self._offsets = self._offsets or {}, None
        for topic in topics:
            topic.unfollow(self)
        self._order.clear()
        self._said.clear()
        self.wake()

    def __aiter__(self) -> Follower:
        """Iterate over events until the hub is closed."""
        return self

    async def __anext__(self) -> Event:
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine waits for the next event of this follower")
        self._taken += 1
        if self._taken % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        while self._offsets is not None:
            event = self._next()
            if event is not None:
                return event
            if self._closing:
                raise StopAsyncIteration
            await self._wait()
        raise RuntimeError("a follower is used in its block: async with hub.follow(...) as events")

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._taken = 0

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

    def _next_of(self, topic: SequencedTopic) -> Event | None:
        assert self._offsets is not None
        offset = self._offsets[topic]
        if offset == UNKNOWN:
            return None
        topic.expire()
        history = topic.history
        missed = history.first - offset
        if missed > 0:
            self._offsets[topic] = history.first
            return Gap(topic.name, missed, "slow")
        if offset == history.next:
            return None
        self._offsets[topic] = offset + 1
        (frame,) = history.frames(offset, 1, 1)
        message = Publication(topic, 0, None, frame).message
        return Message(topic.name, message, topic.position(offset))

    # -- for the hub ----------------------------------------------------------------------------

    def add(self, topic: SequencedTopic, since: Position | None) -> None:
        """Follow a topic, from a position or from now on."""
        assert self._offsets is not None
        self._offsets[topic] = UNKNOWN
        self._order.append(topic)
        topic.followers.append(self)
        topic.use()
        if topic.can_sync(since):
            self.sync(topic, topic.sync(since, 0))
        else:
            topic.wait(self, since, 0)

    def sync(self, topic: SequencedTopic, synced: Synced) -> None:
        """Follow a topic from there on, whatever was so before."""
        assert self._offsets is not None
        self._said.append(synced)
        self._offsets[topic] = synced.at.offset + 1
        self.wake()

    def wake(self) -> None:
        """There is something to take."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self) -> None:
        """The hub is closed: what was published before still comes."""
        self._closing = True
        self.wake()
