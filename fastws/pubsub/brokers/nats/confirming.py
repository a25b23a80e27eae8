"""What plain topics have sent over a line, until the server has it."""

from __future__ import annotations

import asyncio
import contextlib

from fastws.pubsub.brokers.nats.line import LOOK_SECONDS, Line
from fastws.pubsub.brokers.outbox import Outbox, Waiting

__all__ = ["Confirming"]

#: What is sent within so many seconds is confirmed together.
CONFIRM_SECONDS = 0.005


class Confirming:
    """Asks for one line, again and again, what has arrived.

    Args:
        outbox: Where what has not arrived waits.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._sent: Waiting | None = None
        self._news = asyncio.Event()

    def note(self, one: Waiting) -> None:
        """Note that this was sent, behind what was sent before."""
        self._sent = one
        self._news.set()

    async def run(self, line: Line) -> None:
        """Learn what has arrived; where nothing is sent, whether the server is there. Until the line ends."""
        line.lost.add_done_callback(lambda _: self._news.set())
        while not line.lost.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
            if self._sent is not None:
                await asyncio.sleep(CONFIRM_SECONDS)
            self._news.clear()
            last, self._sent = self._sent, None
            await line.flush()
            if last is not None:
                self._outbox.taken(last)
