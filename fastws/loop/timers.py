# cython: annotation_typing=False
"""One timer wheel per event loop: with ``call_later`` each connection's timer costs 488 bytes."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable
from typing import Any

__all__ = ["Timed", "Wheel"]

log = logging.getLogger("fastws.error")

#: Length of one tick of the wheel. Timers fire up to one tick late, never early.
TICK_SECONDS = 0.05


class Timed:
    """Something with one next due time: the base of what a :class:`Wheel` holds."""

    __slots__ = ("tick",)

    #: Managed by the wheel: the tick at which it is due. 0, the first value, means: not in the wheel.
    tick: int

    def on_timer(self, now: float) -> float | None:
        """Do what is due at ``now``; return the next due time, or None. Seconds of the loop's clock."""
        raise NotImplementedError


class Wheel:
    """Holds items in buckets, one for each tick; the loop holds one timer, for the earliest bucket.

    ``call_at`` and ``time`` are the loop's. Items may be set, moved and cancelled at any moment, also by an
    ``on_timer``. An exception of an ``on_timer`` is logged, and all other items are still served. When the
    last item leaves, the loop's timer is cancelled.
    """

    __slots__ = ("_armed", "_buckets", "_call_at", "_count", "_handle", "_ticks", "time")

    def __init__(self, call_at: Callable[..., Any], time: Callable[[], float]) -> None:
        self._call_at = call_at
        self.time = time
        # Dictionaries keep the order, and take half of the memory of sets.
        self._buckets: dict[int, dict[Timed, None]] = {}
        self._ticks: list[int] = []
        self._count = 0
        self._armed = 0
        self._handle: Any = None

    def set(self, item: Timed, when: float) -> None:
        """Let ``item`` be due at ``when`` (seconds of the loop's clock), and at no other time."""
        ticks = when / TICK_SECONDS
        tick = int(ticks)
        if tick < ticks:
            tick += 1
        if item.tick:
            if item.tick == tick:
                return
            self.cancel(item)
        item.tick = tick
        self._count += 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {item: None}
            heapq.heappush(self._ticks, tick)
            self._arm()
        else:
            bucket[item] = None

    def sooner(self, item: Timed, when: float) -> None:
        """Let ``item`` be due at ``when`` unless it is due before that."""
        if not item.tick or when < item.tick * TICK_SECONDS:
            self.set(item, when)

    def cancel(self, item: Timed) -> None:
        """Take ``item`` out; do nothing when it is not in the wheel."""
        tick = item.tick
        if not tick:
            return
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.pop(item, None)
        item.tick = 0
        self._count -= 1
        if not self._count:
            self._rest()

    def _arm(self) -> None:
        earliest = self._ticks[0]
        if self._handle is not None:
            if self._armed <= earliest:
                return
            self._handle.cancel()
        self._armed = earliest
        self._handle = self._call_at(earliest * TICK_SECONDS, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self.time()
        current = math.floor(now / TICK_SECONDS + 1e-6)
        while self._ticks and self._ticks[0] <= current:
            tick = heapq.heappop(self._ticks)
            for item in self._buckets.pop(tick):
                # An item served before it may have cancelled or moved it.
                if item.tick == tick:
                    item.tick = 0
                    self._count -= 1
                    self._serve(item, now, current)
        if self._count:
            self._arm()
        else:
            self._rest()

    def _serve(self, item: Timed, now: float, current: int) -> None:
        try:
            due = item.on_timer(now)
        except Exception:
            log.exception("the timer of %r failed", item)
            return
        if due is not None:
            # At the earliest in the next tick: in the current one the loop above would not end.
            self.sooner(item, max(due, (current + 1) * TICK_SECONDS))

    def _rest(self) -> None:
        """Nothing is in the wheel: forget the empty buckets and cancel the loop's timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._buckets.clear()
        self._ticks.clear()
