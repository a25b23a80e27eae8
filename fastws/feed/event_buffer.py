"""Events between who reads a connection and who takes them, and where each topic is for the latter."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Iterable

from fastws.pubsub.events import Event, Live, Message, Position, Synced
from fastws.pubsub.taker import Taker

__all__ = ["EventBuffer"]


class EventBuffer:
    """Holds events until they are taken. Full, it takes more, but its reader should wait."""

    __slots__ = ("_ended", "_events", "_limit", "_room", "_taker", "positions")

    def __init__(self, limit: int, positions: dict[str, Position]) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        #: What is raised when all events are taken; None: more may come.
        self._ended: Exception | None = None
        self._taker = Taker()
        self._room: asyncio.Future[None] | None = None
        #: For each topic the position behind what was taken.
        self.positions = positions

    # -- for who reads --------------------------------------------------------------------------

    def put(self, events: Iterable[Event]) -> None:
        self._events.extend(events)
        self._taker.wake()

    def end(self, error: Exception) -> None:
        """No more events come: ``error`` is raised behind those that wait."""
        self._ended = error
        self._taker.wake()

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
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # -- for who takes --------------------------------------------------------------------------

    async def take(self) -> Event:
        """Wait for the next event. Raises what :meth:`end` was given, when nothing is left."""
        await self._taker.begin()
        while not self._events:
            if self._ended is not None:
                raise _fresh(self._ended)
            await self._taker.wait()
        event = self._events.popleft()
        if not self.is_full():
            self.release()
        self._note(event)
        return event

    def _note(self, event: Event) -> None:
        """Remember where the topic is now: nowhere, while a snapshot is not complete."""
        if isinstance(event, Synced) and event.snapshot:
            self.positions.pop(event.topic, None)
        elif isinstance(event, (Message, Live, Synced)) and event.at is not None:
            self.positions[event.topic] = event.at


def _fresh(error: Exception) -> Exception:
    """Return the same exception as another object: raised again, one has a longer traceback."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    fresh.__suppress_context__ = error.__suppress_context__
    return fresh
