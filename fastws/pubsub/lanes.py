"""Subscriptions with a ``max_rate``: each is a place in its topic, and reads there as often as it may.

A *lane* is beside its topic, as a view is, and holds those that listen at a pace of their own. They are not
among the subscribers, so they take nothing from the bytes that all others share. Of a stream each is given
the newest message, and is told how many were left out; of a keyed topic all that has changed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.numbered import NumberedTopic, tell_gap
from fastws.pubsub.topic import Topic
from fastws.pubsub.views import View

if TYPE_CHECKING:
    from fastws.pubsub.fanout import Subscriber
    from fastws.pubsub.gate import Gate
    from fastws.pubsub.pace import Pace
    from fastws.pubsub.pacer import Pacer

__all__ = ["HistoryLane", "KeyedLane", "Lane", "StreamLane", "made_lane"]

#: A client is told once in so many seconds what was left out, and that nothing waits.
TELL_SECONDS = 1.0


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
