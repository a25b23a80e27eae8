# cython: annotation_typing=False
"""Messages on their way to a coroutine that asks for them with ``recv``."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable

from fastws.errors import ConcurrencyError
from fastws.loop.wakeups import Waiter, Wakeups

__all__ = ["Inbox"]


class Inbox:
    """A bounded queue with one reader.

    ``pause`` is called when ``high`` messages wait, ``resume`` when they are down to half of it.
    """

    __slots__ = (
        "_failure",
        "_high",
        "_messages",
        "_pause",
        "_paused",
        "_resume",
        "_waiter",
        "_wakeups",
    )

    def __init__(
        self,
        high: int,
        pause: Callable[[], None],
        resume: Callable[[], None],
        wakeups: Wakeups,
    ) -> None:
        self._high = high
        self._pause = pause
        self._resume = resume
        self._wakeups = wakeups
        self._messages: deque[str | bytes] = deque()
        self._paused = False
        self._waiter: Waiter | None = None
        self._failure: Callable[[], Exception] | None = None

    def put(self, message: str | bytes) -> None:
        """Take a message; the reader, if it waits, is woken."""
        self._messages.append(message)
        self._wake()
        if len(self._messages) >= self._high and not self._paused:
            self._paused = True
            self._pause()

    def end(self, failure: Callable[[], Exception]) -> None:
        """Nothing more will come: what waits can still be read, then ``failure()`` is raised."""
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.wake()

    async def get(self) -> str | bytes:
        """Return the next message; cancelling loses none. One coroutine at a time may wait.

        Raises ``ConcurrencyError`` when another coroutine waits already.
        """
        while not self._messages:
            await self._more()
        return self._take()

    async def following(self, end: type[Exception]) -> str | bytes:
        """As :meth:`get`, but ``StopAsyncIteration`` in place of an ``end``.

        Not by way of it: each message of most handlers comes this way, and a coroutine more costs some
        600 instructions.
        """
        try:
            while not self._messages:
                await self._more()
            return self._take()
        except end:
            raise StopAsyncIteration from None

    def _more(self) -> Waiter:
        """Return what to wait for while there is no message; raises as :meth:`get`."""
        if self._failure is not None:
            raise self._failure()
        # One that is done belongs to a reader that was cancelled: it waits no more.
        if self._waiter is not None and not self._waiter.done():
            raise ConcurrencyError("another coroutine already waits in recv()")
        self._waiter = waiter = Waiter(self._wakeups)
        return waiter

    def _take(self) -> str | bytes:
        """Remove the first message; there must be one."""
        message = self._messages.popleft()
        if self._paused and len(self._messages) <= self._high // 2:
            self._paused = False
            self._resume()
        return message

    async def parts(self) -> AsyncIterator[str | bytes]:
        """Iterate over the next message as one that comes in parts; here it has one."""
        yield await self.get()
