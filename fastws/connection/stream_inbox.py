"""Parts of messages on their way to a coroutine that asks for them with ``recv_streaming``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

from fastws.errors import ConcurrencyError
from fastws.protocol.websocket.events import Fragment

__all__ = ["StreamInbox"]

#: Reading pauses when so many bytes wait, and goes on at half of it. One read may come on top.
HIGH = 256 * 1024
#: What an object costs that holds a part: many small ones must count too.
OVERHEAD = 128


class StreamInbox:
    """As :class:`fastws.connection.inbox.Inbox`, for parts, and bounded by their bytes.

    ``limit`` bounds what :meth:`get` puts together, in bytes or characters; ``too_big`` is called beyond it.
    """

    __slots__ = (
        "_begun",
        "_collected",
        "_collector",
        "_current",
        "_failure",
        "_held",
        "_limit",
        "_parts",
        "_pause",
        "_paused",
        "_resume",
        "_size",
        "_skipping",
        "_too_big",
        "_waiter",
    )

    def __init__(
        self,
        limit: int,
        pause: Callable[[], None],
        resume: Callable[[], None],
        too_big: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._pause = pause
        self._resume = resume
        self._too_big = too_big
        self._parts: deque[Fragment] = deque()
        self._held = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Callable[[], Exception] | None = None
        #: A message has begun to be taken and its end has not; the next reader skips the rest of it.
        self._begun = False
        self._skipping = False
        self._current: MessageParts | None = None
        #: What :meth:`get` has of a message that it was cancelled in.
        self._collected: list[str | bytes] = []
        self._collector: MessageParts | None = None
        self._size = 0

    def put(self, part: Fragment) -> None:
        """Take a part; the reader, if it waits, is woken."""
        self._parts.append(part)
        self._held += len(part.data) + OVERHEAD
        self._wake()
        if self._held >= HIGH and not self._paused:
            self._paused = True
            self._pause()

    def end(self, failure: Callable[[], Exception]) -> None:
        """Nothing more will come: what waits can still be read, then ``failure()`` is raised."""
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def parts(self) -> MessageParts:
        """Return an iterator over the parts of the next message.

        Raises ``ConcurrencyError`` when another coroutine waits for a part.
        """
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine already waits in recv()")
        self._collected, self._collector = [], None
        self._skipping = self._begun
        self._current = MessageParts(self)
        return self._current

    async def get(self) -> str | bytes:
        """Return the next message, whole. Cancelling loses nothing.

        Raises as :meth:`take`, also when the message is larger than the limit (1009).
        """
        if self._collector is None:
            self._collector = self.parts()
            self._size = 0
        async for part in self._collector:
            self._collected.append(part)
            self._size += len(part)
            if self._size > self._limit:
                await self._refuse()
        parts, self._collected, self._collector = self._collected, [], None
        return "".join(parts) if isinstance(parts[0], str) else b"".join(parts)  # type: ignore[arg-type]

    async def following(self, end: type[Exception]) -> str | bytes:
        """As :meth:`get`, but ``StopAsyncIteration`` in place of an ``end``."""
        try:
            return await self.get()
        except end:
            raise StopAsyncIteration from None

    async def _refuse(self) -> NoReturn:
        self._collected = []
        self._too_big()
        while True:
            while self._parts:
                self._pop()
            await self._more()

    async def take(self, reader: MessageParts) -> Fragment:
        """Return the next part for ``reader``, behind what an earlier one has left of its message.

        Raises ``ConcurrencyError`` when another coroutine waits already, or reads another message.
        """
        while reader is self._current:
            while not self._parts:
                await self._more()
            part = self._pop()
            self._begun = not part.final
            if not self._skipping:
                return part
            self._skipping = self._begun
        raise ConcurrencyError("another recv_streaming() has begun")

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure()
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine already waits in recv()")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _pop(self) -> Fragment:
        part = self._parts.popleft()
        self._held -= len(part.data) + OVERHEAD
        if self._paused and self._held <= HIGH // 2:
            self._paused = False
            self._resume()
        return part


class MessageParts(AsyncIterator[str | bytes]):
    """The parts of one message."""

    __slots__ = ("_done", "_inbox")

    def __init__(self, inbox: StreamInbox) -> None:
        self._inbox = inbox
        self._done = False

    async def __anext__(self) -> str | bytes:
        if self._done:
            raise StopAsyncIteration
        part = await self._inbox.take(self)
        self._done = part.final
        return part.data
