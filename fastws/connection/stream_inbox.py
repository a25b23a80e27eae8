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
HIGH_WATER_BYTES = 256 * 1024

#: Added to the size of each part for the object that holds it: many small parts must count too.
PART_OVERHEAD_BYTES = 128


class StreamInbox:
    """As :class:`fastws.connection.inbox.Inbox`, but for parts of messages, and bounded by their bytes.

    Args:
        limit: What :meth:`get` puts together at most, in bytes or characters.
        pause: Stops the reading of the socket.
        resume: Lets it go on.
        too_big: Called when a message is over ``limit``; it has to lead to :meth:`end`.
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
        #: True while a message is taken in part; the next reader skips the rest of it.
        self._begun = False
        self._skipping = False
        self._current: MessageParts | None = None
        #: What a cancelled :meth:`get` has of its message; the next :meth:`get` goes on with that.
        self._collected: list[str | bytes] = []
        self._collector: MessageParts | None = None
        self._size = 0

    def put(self, part: Fragment) -> None:
        """Take a part, and wake the reader if it waits."""
        self._parts.append(part)
        self._held += len(part.data) + PART_OVERHEAD_BYTES
        self._wake()
        if self._held >= HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._pause()

    def end(self, failure: Callable[[], Exception]) -> None:
        """Nothing more will come: what waits can still be read, then readers get ``failure()``."""
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def parts(self) -> MessageParts:
        """Return an iterator over the parts of the next message.

        Raises:
            ConcurrencyError: Another coroutine waits for a part.
        """
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine already waits in recv()")
        self._collected, self._collector = [], None
        self._skipping = self._begun
        self._current = MessageParts(self)
        return self._current

    async def get(self) -> str | bytes:
        """Return the next message, whole. Cancelling loses nothing.

        Raises as :meth:`take`. A message over the limit closes with 1009 (RFC 6455, section 7.4.1), so it
        ends with what ``failure()`` of :meth:`end` returned.
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
        """As :meth:`get`, but raise ``StopAsyncIteration`` in place of the exception class ``end``."""
        try:
            return await self.get()
        except end:
            raise StopAsyncIteration from None

    async def _refuse(self) -> NoReturn:
        """The message is too big: throw away what comes until the end, and raise that."""
        self._collected = []
        self._too_big()
        while True:
            while self._parts:
                self._pop()
            await self._more()

    async def take(self, reader: MessageParts) -> Fragment:
        """Return the next part for ``reader``; skip what an earlier reader has left of its message.

        Raises:
            ConcurrencyError: Another coroutine waits already, or another reader has begun.
            Exception: What ``failure()`` of :meth:`end` returned, once no part is left.
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
        self._held -= len(part.data) + PART_OVERHEAD_BYTES
        if self._paused and self._held <= HIGH_WATER_BYTES // 2:
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
