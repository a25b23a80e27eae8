"""Subscriptions with a ``max_rate``: each is a place in its topic, and reads there as often as it may.

A *lane* is beside its topic, as a view is, and holds those that listen at a pace of their own. They are not
among the subscribers, so they take nothing from the bytes that all others share. Of a stream each is given
the newest message, and is told how many were left out; of a keyed topic all that has changed.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.numbered import NumberedTopic, tell_gap
from fastws.pubsub.topic import Topic
from fastws.pubsub.views import View

if TYPE_CHECKING:
    from fastws.pubsub.fanout import FanOut, Subscriber
    from fastws.pubsub.gate import Gate
    from fastws.pubsub.pace import Pace

__all__ = ["HistoryLane", "KeyedLane", "Lane", "Pacer", "StreamLane", "made_lane", "pacer_of"]

log = logging.getLogger("fastws.error")

#: A client is told once in so many seconds what was left out, and that nothing waits.
TELL_SECONDS = 1.0
#: What all clients are sent in one turn of the loop: a chunk more at most.
TURN_BYTES = 1024 * 1024
#: So many may wait for their time before those that have gone are looked for.
FEW_WAITING = 64


class Pacer:
    """Calls those that wait for their time: one timer for all of one loop."""

    __slots__ = ("_blocked", "_counter", "_loop", "_most", "_timer", "_waiting", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[float, int, PacedCursor]] = []
        #: Those whose time came while their socket was blocked.
        self._blocked: dict[Subscriber, dict[PacedCursor, None]] = {}
        #: With more of them those are forgotten that have gone.
        self._most = FEW_WAITING
        self._counter = 0
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def time(self) -> float:
        """Return the time of the loop."""
        return self._loop.time()

    def add(self, cursor: PacedCursor, when: float) -> None:
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

    def block(self, cursor: PacedCursor) -> None:
        """Pull for ``cursor`` when its socket takes bytes."""
        self._blocked.setdefault(cursor.subscriber, {})[cursor] = None

    def unblock(self, subscriber: Subscriber) -> None:
        """Pull, in a turn of its own, for those that wait for the socket of ``subscriber``."""
        for cursor in self._blocked.pop(subscriber, ()):
            self.add(cursor, self._loop.time())

    def forget(self, cursor: PacedCursor) -> None:
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
        again: list[PacedCursor] = []
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


class PacedCursor:
    """One subscription."""

    __slots__ = (
        "_lane",
        "left_out",
        "owed",
        "pace",
        "place",
        "subscriber",
        "told",
        "told_at",
        "when",
    )

    def __init__(self, lane: Lane, subscriber: Subscriber, place: Any, pace: Pace) -> None:
        self._lane = lane
        self.subscriber = subscriber
        self.place = place
        self.pace = pace
        #: When the pacer calls it; infinite where it does not.
        self.when = math.inf
        #: Messages of which it was not told yet that they do not come; and when it was told last.
        self.left_out = 0
        #: The message before one that it is not offered; None where it has been sent that.
        self.owed: bytes | None = None
        self.told_at = 0.0
        #: Of a keyed topic, the position that it was told last.
        self.told = -1

    def is_here(self) -> bool:
        """True while it listens."""
        return self._lane.cursors.get(self.subscriber) is self

    def pull(self, now: float) -> int | None:
        """Send what it may have now; return how many bytes, None where it has to wait for its time."""
        outbox = self.subscriber.outbox
        if not self.is_here() or not outbox.is_open:
            return None
        pacer = self._lane.pacer
        if not outbox.takes_joined():
            pacer.block(self)
            return None
        due = self.pace.due()
        if due > now:
            pacer.add(self, due)
            return None
        self.subscriber.take_published()
        return self._lane.send(self, now)

    def go_on(self, now: float) -> None:
        """Wait for the next time, or for something to be published."""
        if self.is_here():
            self._lane.wait(self, now)


class Lane(Topic):
    """Its subscribers are cursors: as a topic it has none, and publishes nothing."""

    __slots__ = ("cursors", "idle", "pacer", "source")

    def __init__(self, source: Topic, pacer: Pacer) -> None:
        Topic.__init__(self, source.name, None, source.policy, source.deflate)
        self.source: Any = source
        self.pacer = pacer
        self.cursors: dict[Any, PacedCursor] = {}
        #: Those that have been sent everything.
        self.idle: dict[PacedCursor, None] = {}

    def add(self, subscriber: Subscriber, place: Any, pace: Pace) -> None:
        """Let a client read from ``place`` on."""
        if not self.cursors:
            self.begin()
        self.cursors[subscriber] = cursor = PacedCursor(self, subscriber, place, pace)
        subscriber.topics[self] = None
        self.wait(cursor, self.pacer.time())

    def remove(self, subscriber: object) -> None:
        cursor = self.cursors.pop(subscriber, None)
        if cursor is not None:
            self.idle.pop(cursor, None)
            self.pacer.forget(cursor)
        if not self.cursors:
            self.finish()

    def listeners(self) -> int:
        return len(self.cursors)

    def begin(self) -> None:
        """Be told what is published."""

    def finish(self) -> None:
        """Nobody listens any more."""
        gate: Gate = self.source.gate
        gate.lane = None
        if gate.is_only_for_paced():
            self.source.gate = None
        self.source.remove(None)

    def wake(self) -> None:
        """There is something to read."""
        if not self.idle:
            return
        idle, self.idle = self.idle, {}
        now = self.pacer.time()
        for cursor in idle:
            self.pacer.add(cursor, max(cursor.pace.due(), now))

    def end(self) -> None:
        """The hub is closed: clients listen on."""

    def wait(self, cursor: PacedCursor, now: float) -> None:
        """Call ``cursor`` when it may be sent something that there is."""
        when: float | None = now
        if not self.has_more(cursor):
            when = self.tell_time(cursor)
            self.idle[cursor] = None
        if when is not None:
            self.pacer.add(cursor, max(when, cursor.pace.due(), now))

    def deliver(self, cursor: PacedCursor, frames: list[bytes]) -> int:
        """Write frames of the topic."""
        source = self.source
        batch = [Publication(source, 0, None, frame) for frame in frames]
        cursor.subscriber.outbox.deliver_joined(source, batch, None)
        return sum(map(len, frames))

    # -- what each kind does --------------------------------------------------------------------

    def has_more(self, cursor: PacedCursor) -> bool:
        """True when there is something to read for ``cursor``."""
        raise NotImplementedError

    def tell_time(self, cursor: PacedCursor) -> float | None:
        """Return when it is told something else, where there is nothing to read; None: never."""
        raise NotImplementedError

    def send(self, cursor: PacedCursor, now: float) -> int:
        """Send what there is; return how many bytes."""
        raise NotImplementedError


class StreamLane(Lane):
    """Of a topic without a history: it keeps the newest message. A place is the number of the next one."""

    __slots__ = ("newest", "next")

    def __init__(self, source: Topic, pacer: Pacer) -> None:
        Lane.__init__(self, source, pacer)
        self.next = 0
        self.newest = b""

    def offer(self, frame: bytes, excluded: Any = None) -> int:
        """Keep what is published now; return to how many it is offered: not to who is ``excluded``."""
        cursor = self.cursors.get(excluded)
        if cursor is not None:
            if cursor.place < self.next:
                cursor.left_out += self.next - 1 - cursor.place + (cursor.owed is not None)
                cursor.owed = self.newest
            cursor.place = self.next + 1
        self.newest = frame
        self.next += 1
        self.wake()
        return len(self.cursors) - (cursor is not None)

    def head(self) -> int:
        """Return the place behind the newest message."""
        return self.next

    def read(self, place: int) -> bytes:
        """Return the frame of the newest message, which is at ``place``."""
        return self.newest

    def has_more(self, cursor: PacedCursor) -> bool:
        following: int = cursor.place
        return following < self.head() or cursor.owed is not None

    def tell_time(self, cursor: PacedCursor) -> float | None:
        return cursor.told_at + TELL_SECONDS if cursor.left_out else None

    def send(self, cursor: PacedCursor, now: float) -> int:
        newest = self.head() - 1
        if cursor.owed is not None and cursor.place <= newest:
            cursor.left_out += 1
            cursor.owed = None
        if cursor.place < newest:
            cursor.left_out += newest - cursor.place
            cursor.place = newest
        if cursor.left_out and now >= cursor.told_at + TELL_SECONDS:
            self.tell(cursor, now)
            if not cursor.is_here() or not cursor.subscriber.outbox.takes_joined():
                return 0
        if not self.has_more(cursor):
            return 0
        frame, cursor.owed = cursor.owed, None
        if frame is None:
            frame = self.read(cursor.place)
            cursor.place += 1
        cursor.pace.sent(now, 1)
        return self.deliver(cursor, [frame])

    def tell(self, cursor: PacedCursor, now: float) -> None:
        """Tell a client what was left out."""
        left_out, cursor.left_out = cursor.left_out, 0
        cursor.told_at = now
        source = self.source
        if isinstance(source, NumberedTopic):
            source.tell_gap(cursor.subscriber, left_out, "sampled")
        else:
            tell_gap(cursor.subscriber.ws, self.name, left_out, "sampled")


class HistoryLane(StreamLane):
    """Of a topic with a history, ``kept``, which it follows; or of the view of one."""

    __slots__ = ("kept",)

    def __init__(self, source: Any, pacer: Pacer, kept: Any) -> None:
        StreamLane.__init__(self, source, pacer)
        self.kept = kept

    def begin(self) -> None:
        self.kept.followers.append(self)
        self.kept.use()

    def finish(self) -> None:
        self.kept.followers.remove(self)
        StreamLane.finish(self)

    def head(self) -> int:
        following: int = self.kept.history.next
        return following

    def read(self, place: int) -> bytes:
        frame: bytes = self.source.frames(place, 1, 1)[0]
        return frame


class KeyedLane(Lane):
    """Of a keyed topic."""

    __slots__ = ()

    def begin(self) -> None:
        self.source.followers.append(self)
        self.source.use()

    def finish(self) -> None:
        self.source.followers.remove(self)
        Lane.finish(self)

    def has_more(self, cursor: PacedCursor) -> bool:
        source: KeyedTopic = self.source
        return not source.has_read_all(cursor.place)

    def tell_time(self, cursor: PacedCursor) -> float | None:
        return cursor.told_at + TELL_SECONDS if cursor.told < cursor.place[0] else None

    def send(self, cursor: PacedCursor, now: float) -> int:
        source: KeyedTopic = self.source
        if not self.has_more(cursor):
            if cursor.told == cursor.place[0] or now < cursor.told_at + TELL_SECONDS:
                return 0
            cursor.told, cursor.told_at = cursor.place[0], now
            frames = [source.live_frame(cursor.told)]
        else:
            frames, cursor.place = source.read_one(cursor.place)
            if cursor.place[0] < cursor.place[1]:  # a snapshot, whose pieces may all come at once
                return self.deliver(cursor, frames)
        cursor.pace.sent(now, len(frames))
        return self.deliver(cursor, frames)


def pacer_of(fan_out: FanOut) -> Pacer:
    """Return the pacer of a loop, made when it is first asked for. Only on that loop."""
    if fan_out.pacer is None:
        fan_out.pacer = Pacer(asyncio.get_running_loop())
    pacer: Pacer = fan_out.pacer
    return pacer


def made_lane(channel: Topic, pacer: Pacer) -> Any:
    """Return a new lane for what clients listen to: a topic, or its view."""
    if isinstance(channel, KeyedTopic):
        return KeyedLane(channel, pacer)
    if isinstance(channel, View):
        return (
            HistoryLane(channel, pacer, channel.source) if channel.has_history else StreamLane(channel, pacer)
        )
    if isinstance(channel, NumberedTopic):
        return HistoryLane(channel, pacer, channel)
    return StreamLane(channel, pacer)
