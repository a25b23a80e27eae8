# cython: annotation_typing=False
"""Messages on their way to a coroutine that asks for them with ``recv``."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable

from fastws.errors import ConcurrencyError
from fastws.loop.wakeups import Waiter, Wakeups

__all__ = ["Inbox"]


class Inbox:
    """A bounded queue of messages with one reader.

    Args:
        high_water: When so many messages wait, ``pause`` is called; at half of it, ``resume``.
        pause: Stops the reading of the socket.
        resume: Lets it go on.
        wakeups: Those of the event loop.
    """

    __slots__ = (
        "_failure",
        "_high_water",
        "_messages",
        "_pause",
        "_paused",
        "_resume",
        "_resume_at",
        "_waiter",
        "_wakeups",
    )

    def __init__(
        self,
        high_water: int,
        pause: Callable[[], None],
        resume: Callable[[], None],
        wakeups: Wakeups,
    ) -> None:
        self._high_water = high_water
        self._pause = pause
        self._resume = resume
        self._wakeups = wakeups
        self._messages: deque[str | bytes] = deque()
        self._paused = False
        #: While paused: so many messages may wait when reading goes on.
        self._resume_at = 0
        self._waiter: Waiter | None = None
        self._failure: Callable[[], Exception] | None = None

    def put(self, message: str | bytes) -> None:
        """Take a message, and wake the reader if it waits."""
        self._messages.append(message)
        self._wake()
        if len(self._messages) >= self._high_water and not self._paused:
            self._paused = True
            self._resume_at = self._high_water // 2
            self._pause()

    def pause_until_taken(self) -> None:
        """Pause until no message waits, however few they are: those behind them have yet to be inflated."""
        if self._messages:
            self._resume_at = 0
            if not self._paused:
                self._paused = True
                self._pause()

    def end(self, failure: Callable[[], Exception]) -> None:
        """Nothing more will come: what waits can still be read, then :meth:`get` raises ``failure()``."""
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.wake()

    async def get(self) -> str | bytes:
        """Return the next message. Cancelling loses none.

        Raises:
            ConcurrencyError: Another coroutine waits already.
            Exception: What ``failure()`` of :meth:`end` returned, once no message is left.
        """
        while not self._messages:
            await self._more()
        return self._take()

    async def following(self, end: type[Exception]) -> str | bytes:
        """As :meth:`get`, but raise ``StopAsyncIteration`` in place of the exception class ``end``.

        It does not await :meth:`get`: most messages are received here, and one more coroutine costs some
        600 instructions for each.
        """
        try:
            while not self._messages:
                await self._more()
            return self._take()
        except end:
            raise StopAsyncIteration from None

    def _more(self) -> Waiter:
        """Return what to await while there is no message; raise as :meth:`get`."""
        if self._failure is not None:
            raise self._failure()
        # A waiter that is done belongs to a reader that was cancelled.
        if self._waiter is not None and not self._waiter.done():
            raise ConcurrencyError("another coroutine already waits in recv()")
        self._waiter = waiter = Waiter(self._wakeups)
        return waiter

    def _take(self) -> str | bytes:
        """Remove the first message; there must be one."""
        message = self._messages.popleft()
        if self._paused and len(self._messages) <= self._resume_at:
            self._paused = False
            self._resume()
        return message

    async def parts(self) -> AsyncIterator[str | bytes]:
        """Iterate over the parts of the next message, of which there is one here."""
        yield await self.get()
