"""Releases what topics have collected, every so many seconds: one timer for all topics with that number."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

__all__ = ["Ticker", "Tickers"]

log = logging.getLogger("fastws.error")


class Collecting(Protocol):
    """A topic that collects what is published."""

    def release(self) -> None:
        """Give what was collected to the subscribers."""


class Ticker:
    """A tick comes ``every`` seconds after the first topic has something for it; none comes without."""

    __slots__ = ("_loop", "_timer", "_waiting", "every")

    def __init__(self, every: float) -> None:
        self.every = every
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Collecting, None] = {}

    def add(self, topic: Collecting) -> None:
        """Release ``topic`` with the next tick, on the loop that runs."""
        loop = asyncio.get_running_loop()
        if not self._waiting or loop is not self._loop:
            self._loop = loop
            self._timer = loop.call_later(self.every, self._tick)
        self._waiting[topic] = None

    def release(self) -> None:
        """Let the tick that is due come now."""
        if self._timer is not None and self._loop is asyncio.get_running_loop():
            self._timer.cancel()
            self._tick()

    def _tick(self) -> None:
        self._timer = None
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
