"""The one coroutine at a time that takes events, as of a :class:`fastws.Follower`."""

from __future__ import annotations

import asyncio

from fastws.errors import ConcurrencyError

__all__ = ["Taker"]

#: Events after which a coroutine that takes them without ever waiting lets others run.
EVENTS_AT_ONCE = 64


class Taker:
    """Waits for events, and is woken when there are some."""

    __slots__ = ("_taken", "_waiter")

    def __init__(self) -> None:
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """Take one more event. Raises ``ConcurrencyError`` where another coroutine waits for one."""
        if self._waiter is not None:
            raise ConcurrencyError("another coroutine waits for the next event of this follower")
        self._taken += 1
        if self._taken % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)

    async def wait(self) -> None:
        """Wait until there may be an event."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._taken = 0

    def wake(self) -> None:
        """There is something to take."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
