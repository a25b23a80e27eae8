"""Messages on their way to a coroutine that asks for them with ``recv``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from fastws.errors import ConcurrencyError

__all__ = ["Inbox"]


class Inbox:
    """A bounded queue with one reader.

    ``pause`` is called when ``high`` messages wait, ``resume`` when they are down to half of it.
    """

    __slots__ = ("_failure", "_high", "_messages", "_pause", "_paused", "_resume", "_waiter")

    def __init__(self, high: int, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._high = high
        self._pause = pause
        self._resume = resume
        self._messages: deque[str | bytes] = deque()
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Callable[[], Exception] | None = None

    def put(self, message: str | bytes) -> None:
        """Take a message; the reader, if it waits, is woken in this turn's end."""
        self._messages.append(message)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if len(self._messages) >= self._high and not self._paused:
            self._paused = True
            self._pause()

    def end(self, failure: Callable[[], Exception]) -> None:
        """Nothing more will come: what waits can still be read, then ``failure()`` is raised."""
        self._failure = failure
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def get(self) -> str | bytes:
        """Return the next message; cancelling loses none. One coroutine at a time may wait.

        Raises ``ConcurrencyError`` when another coroutine waits already.
        """
        messages = self._messages
        while not messages:
            if self._failure is not None:
                raise self._failure()
            if self._waiter is not None:
                raise ConcurrencyError("another coroutine already waits in recv()")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = messages.popleft()
        if self._paused and len(messages) <= self._high // 2:
            self._paused = False
            self._resume()
        return message

    async def parts(self) -> AsyncIterator[str | bytes]:
        """Iterate over the next message as one that comes in parts; here it has one."""
        yield await self.get()
