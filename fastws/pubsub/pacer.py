"""When subscriptions with a ``max_rate`` are served: one timer for all of one loop."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastws.pubsub.fanout import FanOut, Subscriber

__all__ = ["Pacer", "pacer_of"]

log = logging.getLogger("fastws.error")

#: What all clients are sent in one turn of the loop: a chunk more at most.
TURN_BYTES = 1024 * 1024
#: So many may wait for their time before those that have gone are looked for.
FEW_WAITING = 64


class Paced(Protocol):
    """One subscription."""

    subscriber: Subscriber
    #: When the pacer calls it; infinite where it does not.
    when: float

    def is_here(self) -> bool: ...
    def pull(self, now: float) -> int | None: ...
    def go_on(self, now: float) -> None: ...


class Pacer:
    """Calls those that wait for their time: one timer for all of one loop."""

    __slots__ = ("_blocked", "_counter", "_loop", "_most", "_timer", "_waiting", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[float, int, Paced]] = []
        #: Those whose time came while their socket was blocked.
        self._blocked: dict[Subscriber, dict[Paced, None]] = {}
        #: With more of them those are forgotten that have gone.
        self._most = FEW_WAITING
        self._counter = 0
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def time(self) -> float:
        """Return the time of the loop."""
        return self._loop.time()

    def add(self, cursor: Paced, when: float) -> None:
        """Pull for ``cursor`` at ``when``, and not later."""
        if cursor.when <= when:
            return
        cursor.when = when
        self._counter += 1
        heapq.heappush(self._waiting, (when, self._counter, cursor))
        if len(self._waiting) > self._most:
            self._forget_gone()
        if self._timer is None or when < self._when:
            self._set(when)

    def block(self, cursor: Paced) -> None:
        """Pull for ``cursor`` when its socket takes bytes."""
        self._blocked.setdefault(cursor.subscriber, {})[cursor] = None

    def unblock(self, subscriber: Subscriber) -> None:
        """Pull, in a turn of its own, for those that wait for the socket of ``subscriber``."""
        for cursor in self._blocked.pop(subscriber, ()):
            self.add(cursor, self._loop.time())

    def forget(self, cursor: Paced) -> None:
        """Hold on no longer to one that has left."""
        blocked = self._blocked.get(cursor.subscriber)
        if blocked is not None:
            blocked.pop(cursor, None)
            if not blocked:
                del self._blocked[cursor.subscriber]

    def _forget_gone(self) -> None:
        """Hold on to no client that has left, or waits for another time now: theirs may be days away."""
        self._waiting = [each for each in self._waiting if each[0] == each[2].when and each[2].is_here()]
        heapq.heapify(self._waiting)
        self._most = max(2 * len(self._waiting), FEW_WAITING)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = self._loop.call_at(max(when, self._loop.time()), self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        left = TURN_BYTES
        again: list[Paced] = []
        while left > 0 and self._waiting and self._waiting[0][0] <= now:
            when, _, cursor = heapq.heappop(self._waiting)
            if when != cursor.when:
                continue  # it was pulled sooner
            cursor.when = math.inf
            try:
                size = cursor.pull(now)
            except Exception:
                log.exception("what a topic has published cannot be sent")
                cursor.subscriber.outbox.evict()
                continue
            if size is not None:
                left -= size
                again.append(cursor)
        for cursor in again:
            cursor.go_on(now)
        if self._waiting:
            self._set(self._waiting[0][0])


def pacer_of(fan_out: FanOut) -> Pacer:
    """Return the pacer of a loop, made when it is first asked for. Only on that loop."""
    if fan_out.pacer is None:
        fan_out.pacer = Pacer(asyncio.get_running_loop())
    pacer: Pacer = fan_out.pacer
    return pacer
