"""Events between who reads a connection and who takes them, and where each topic is for the latter."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from fastws.errors import ConcurrencyError
from fastws.pubsub.events import Event, Live, Message, Position, Synced

__all__ = ["EventBuffer"]

#: Events after which a coroutine that takes them without ever waiting lets others run.
EVENTS_AT_ONCE = 64


class EventBuffer:
    """Holds events until they are taken. Full, it takes more, but its reader should wait."""

    __slots__ = ("_ended", "_events", "_limit", "_room", "_taken", "_waiter", "positions")

    def __init__(self, limit: int, positions: dict[str, Position]) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        #: What is raised when all events are taken; None: more may come.
        self._ended: Exception | None = None
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        #: For each topic the position behind what was taken.
        self.positions = positions

    # -- for who reads --------------------------------------------------------------------------

    def put(self, events: Iterable[Event]) -> None:
        self._events.extend(events)
        _wake(self._waiter)

    def end(self, error: Exception) -> None:
        """No more events come: ``error`` is raised behind those that wait."""
        self._ended = error
        _wake(self._waiter)

    def begin(self) -> None:
        """Hold nothing: events are to come again."""
        self._events.clear()
        self._ended = None

    def is_full(self) -> bool:
        return len(self._events) >= self._limit

    async def room(self) -> None:
        """Wait until an event is taken, or :meth:`release` is called."""
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def release(self) -> None:
        """Let the reader go on."""
        _wake(self._room)

    # -- for who takes --------------------------------------------------------------------------

    async def take(self) -> Event:
        """Wait for the next event. Raises what :meth:`end` was given, when nothing is left."""
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine waits for the next event of this follower")
        self._taken += 1
        if self._taken % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        while not self._events:
            if self._ended is not None:
                raise self._ended
            await self._wait()
        event = self._events.popleft()
        if not self.is_full():
            self.release()
        self._note(event)
        return event

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._taken = 0

    def _note(self, event: Event) -> None:
        """Remember where the topic is now: nowhere, while a snapshot is not complete."""
        if isinstance(event, Synced) and event.snapshot:
            self.positions.pop(event.topic, None)
        elif isinstance(event, (Message, Live, Synced)) and event.at is not None:
            self.positions[event.topic] = event.at


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
