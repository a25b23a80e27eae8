"""Releases what topics have collected, every so many seconds: one timer for all topics with that number.

Nothing waits longer than that, and ticks are at least so far apart. While changes keep coming there is one
after each interval: counted from the first change since the last tick, each round would be longer by the time
until that comes, and every value as much older.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any, Protocol

__all__ = ["Ticker", "Tickers"]

log = logging.getLogger("fastws.error")


class Collecting(Protocol):
    """A topic that collects what is published."""

    def release(self) -> None:
        """Give what was collected to the subscribers."""


class Ticker:
    """A tick comes ``every`` seconds after the last one where a topic has something for it by then.

    After a pause it comes as long after the first topic has something.
    """

    __slots__ = ("_last", "_loop", "_timer", "_waiting", "every")

    def __init__(self, every: float) -> None:
        self.every = every
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Collecting, None] = {}
        #: When the last tick came, by the clock of ``_loop``.
        self._last = -math.inf

    def add(self, topic: Collecting) -> None:
        """Release ``topic`` with the next tick, on the loop that runs."""
        loop = asyncio.get_running_loop()
        if not self._waiting or loop is not self._loop:
            now = loop.time()
            due = self._last + self.every
            if due <= now or loop is not self._loop:
                due = now + self.every
            self._loop = loop
            self._timer = loop.call_at(due, self._tick)
        self._waiting[topic] = None

    def release(self) -> None:
        """Let the tick that is due come now."""
        if self._timer is not None and self._loop is asyncio.get_running_loop():
            self._timer.cancel()
            self._tick()

    def _tick(self) -> None:
        self._timer = None
        assert self._loop is not None
        self._last = self._loop.time()
        waiting, self._waiting = self._waiting, {}
        for topic in waiting:
            try:
                topic.release()
            except Exception:
                log.exception("what was published to %r cannot be sent", topic)


class Tickers:
    """The tickers of one hub."""

    __slots__ = ("_tickers",)

    def __init__(self) -> None:
        self._tickers: dict[float, Any] = {}

    def of(self, every: float) -> Ticker:
        """Return the one with that many seconds."""
        if every not in self._tickers:
            self._tickers[every] = Ticker(every)
        ticker: Ticker = self._tickers[every]
        return ticker

    def release(self) -> None:
        """Let all ticks that are due come now."""
        for ticker in self._tickers.values():
            ticker.release()
