# cython: annotation_typing=False
"""One timer wheel per loop: a timer per connection would cost 488 bytes each (``call_later``)."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable
from typing import Any

__all__ = ["Timed", "Wheel"]

log = logging.getLogger("fastws.error")

#: Seconds between two spokes. Timers fire up to one tick late, never early.
TICK = 0.05


class Timed:
    """What a wheel turns: a base for something with one next due time."""

    __slots__ = ("tick",)

    #: Managed by the wheel: the tick at which it is due; 0, as at first, when it is not in the wheel.
    tick: int

    def on_timer(self, now: float) -> float | None:
        """Do what is due and return the next due time, if there is one."""
        raise NotImplementedError


class Wheel:
    """Timed items in buckets by tick; the loop holds one timer, for the earliest bucket.

    ``call_at`` and ``time`` are the loop's. Items may be set, moved and cancelled at any moment,
    also from within ``on_timer``; an exception in one is logged and hurts no other. With no item
    left the loop has its timer back.
    """

    __slots__ = ("_armed", "_buckets", "_call_at", "_count", "_handle", "_ticks", "time")

    def __init__(self, call_at: Callable[..., Any], time: Callable[[], float]) -> None:
        self._call_at = call_at
        self.time = time
        # Dictionaries, for they take half of what sets do.
        self._buckets: dict[int, dict[Timed, None]] = {}
        self._ticks: list[int] = []
        self._count = 0
        self._armed = 0
        self._handle: Any = None

    def set(self, item: Timed, when: float) -> None:
        """Let ``item`` be due at ``when`` (the loop's clock), and at no other time."""
        ticks = when / TICK
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
        if not item.tick or when < item.tick * TICK:
            self.set(item, when)

    def cancel(self, item: Timed) -> None:
        """Take ``item`` out; does nothing when it is not in the wheel."""
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
        self._handle = self._call_at(earliest * TICK, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self.time()
        current = math.floor(now / TICK + 1e-6)
        while self._ticks and self._ticks[0] <= current:
            tick = heapq.heappop(self._ticks)
            for item in self._buckets.pop(tick):
                # An earlier one of this bucket may have cancelled or moved it.
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
            # Never again in a tick that is being served: that would not end.
            self.sooner(item, max(due, (current + 1) * TICK))

    def _rest(self) -> None:
        """Nothing is in the wheel: forget the empty buckets and give the loop its timer back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._buckets.clear()
        self._ticks.clear()
