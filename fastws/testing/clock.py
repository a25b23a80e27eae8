"""Time that stands still on a real loop until a test moves it."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from collections.abc import Callable
from typing import Any

from fastws.loop.state import LOOP_ATTRIBUTE, LoopState
from fastws.testing.loop import Call, ManualLoop

__all__ = ["Clock"]

#: Turns of the loop after each timer. A round trip of a pair takes about ten.
TURNS_PER_TIMER = 50

#: Seconds that a sum of seconds may be off by.
ROUNDING_SECONDS = 1e-6


class Clock:
    """The time of the running loop: it stands still, and ``await advance(seconds)`` moves it.

    As a context manager, or given to :class:`pair` as ``clock=``, it takes the place of the loop's
    ``time``, ``call_at`` and ``call_later``. It decides about timeouts, pings and limits of the connections
    made from then on, and about every ``asyncio.sleep`` and ``asyncio.timeout`` of the test. Timers that
    were set before wait until the clock is left.

    It works on asyncio's loop and on uvloop. Use it only in that loop's thread. It may be entered several
    times: the last exit gives the loop its own time back.

    Raises:
        RuntimeError: It was entered on a second loop.
        TypeError: It was entered on a :class:`ManualLoop`, which has its own clock.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[tuple[float, int, Call]] = []
        self._counter = 0
        self._entered = 0
        self._loop: Any = None
        self._context: Any = None

    def time(self) -> float:
        """Return the time in seconds; only differences mean anything."""
        return self._now

    @property
    def timers(self) -> list[float]:
        """Seconds until each timer that is set, in order."""
        return sorted(when - self._now for when, _, call in self._timers if not call.cancelled())

    async def advance(self, seconds: float) -> None:
        """Move the time; stop at each timer before its end, and let the loop run for what follows.

        One coroutine at a time may wait for it. What a test waits for beside it goes on meanwhile.

        Args:
            seconds: How far, 0 or more. fastws's own timers fire up to 0.1 s late: add that.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError("time goes forward only")
        end = self._now + seconds
        await self._settle()
        while (due := self._next()) is not None and due <= end + ROUNDING_SECONDS:
            self._now = max(self._now, due)
            self._run_due()
            await self._settle()
        self._now = max(self._now, end)

    # -- on a loop ------------------------------------------------------------------------------

    def __enter__(self) -> Clock:
        loop = asyncio.get_running_loop()
        if self._entered and loop is not self._loop:
            raise RuntimeError("a clock belongs to one event loop")
        if not self._entered:
            self._install(loop)
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:
            self._remove()

    def _install(self, loop: Any) -> None:
        if isinstance(loop, ManualLoop):
            raise TypeError("a ManualLoop has its own clock: loop.advance(seconds)")
        self._loop = loop
        # Whole seconds, so that sums of round numbers of seconds stay round.
        self._now = max(self._now, float(math.ceil(loop.time())))
        for name in ("time", "call_at", "call_later"):
            setattr(loop, name, getattr(self, name))
        # Connections take their clock and their timers from their loop's context.
        self._context = getattr(loop, LOOP_ATTRIBUTE, None)
        context = LoopState(loop)
        context.clock = self.time
        setattr(loop, LOOP_ATTRIBUTE, context)

    def _remove(self) -> None:
        loop = self._loop
        for name in ("time", "call_at", "call_later"):
            delattr(loop, name)
        setattr(loop, LOOP_ATTRIBUTE, self._context)
        # Timers that are still set go on in real time.
        for when, _, call in self._timers:
            if not call.cancelled():
                loop.call_later(max(when - self._now, 0.0), call.run)
        self._timers.clear()
        self._loop = self._context = None

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        """As the loop's."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        """As the loop's, in the time of this clock."""
        call = Call(self._loop, callback, args, context, when)
        if when <= self._now:
            self._loop.call_soon(call.run)
        else:
            self._counter += 1
            heapq.heappush(self._timers, (when, self._counter, call))
        return call

    def _run_due(self) -> None:
        due_now: list[Call] = []
        while (due := self._next()) is not None and due <= self._now + ROUNDING_SECONDS:
            due_now.append(heapq.heappop(self._timers)[2])
        # Not those that these set: a callback to which it is too early by a rounding waits once more.
        for call in due_now:
            call.run()

    def _next(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    async def _settle(self) -> None:
        for _ in range(TURNS_PER_TIMER):
            await asyncio.sleep(0)
