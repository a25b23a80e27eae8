"""What waits for the keeper, in the order of the calls: messages in runs, and what is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastws.pubsub.bus.records import MAX_RECORD_BYTES, Flag, Kind, Record

if TYPE_CHECKING:
    from fastws.pubsub.keeper.shared_topic import SharedPart

__all__ = ["MAX_QUEUED_BYTES", "Item", "Queue"]

log = logging.getLogger("fastws.error")

#: What the keeper has not taken, at most. Beyond it messages are dropped, and told.
MAX_QUEUED_BYTES = 8 * 1024 * 1024
#: A message that is larger cannot travel, with what stands around it: it is dropped, and told.
MAX_MESSAGE_BYTES = MAX_RECORD_BYTES - 64 * 1024
#: A run ends at so many bytes, and the next record begins: the receiver need not wait for all of it.
RUN_BYTES = 256 * 1024
PUBLISH = int(Kind.PUBLISH)


class Item:
    """One record for the keeper.

    Args:
        topic: What it is about.
        record: It.
        size: How many of its bytes count against the bound.
        is_taken: Whether the keeper says that it has taken it. If it ends before, the next one is sent it.
    """

    __slots__ = ("is_refused", "is_taken", "record", "size", "topic")

    def __init__(self, topic: SharedPart, record: Record, size: int = 0, *, is_taken: bool = False) -> None:
        self.topic = topic
        self.record = record
        self.size = size
        self.is_taken = is_taken
        #: The keeper has said that it will never be published: no other one is sent it.
        self.is_refused = False

    @classmethod
    def follow(cls, topic: SharedPart) -> Item:
        """Return the question for a copy of what is kept, behind what is here already."""
        epoch, following = topic.held()
        return cls(topic, Record(Kind.FOLLOW, Flag.TOPIC, topic.key, epoch, following))


class Run:
    """Messages of one topic that were published one after the other."""

    __slots__ = ("frames", "number", "size", "topic")

    def __init__(self, topic: SharedPart, number: int) -> None:
        self.topic = topic
        self.number = number
        self.frames: list[bytes] = []
        self.size = 0

    def item(self) -> Item:
        frames = self.frames
        body = frames[0] if len(frames) == 1 else b"".join(frames)
        record = Record(PUBLISH, 0, self.topic.key, len(frames), self.number, body)
        return Item(self.topic, record, self.size, is_taken=True)


class Queue:
    """Collects what a turn of the loop says to the keeper, and counts what that has not taken.

    Args:
        wake: Called with the first of a turn.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        #: How many records with messages there have been. Each has a number, by which a broker knows it
        #: again.
        self._numbers = 0
        self._collected: list[Item | Run] = []
        self._run: Run | None = None
        #: Bytes of messages that the keeper has not taken.
        self.size = 0
        #: Messages that were dropped and that nobody was told of; and those that the log has not told of.
        self._lost: dict[SharedPart, int] = {}
        self._unsaid = 0

    def publish(self, topic: SharedPart, frame: bytes) -> bool:
        """Take one message; False where too much waits, or it is too large, and it is dropped."""
        size = len(frame)
        if not self.has_room(size):
            self._lost[topic] = self._lost.get(topic, 0) + 1
            if size > MAX_MESSAGE_BYTES:
                log.error("a message of %d bytes to topic %r was dropped: it is too large", size, topic.name)
            else:
                self._unsaid += 1
            self._run = None
            return False
        self.size += size
        run = self._run
        if run is None or run.topic is not topic or run.size >= RUN_BYTES:
            self._run = run = self._begin(topic)
        run.frames.append(frame)
        run.size += size
        return True

    def _begin(self, topic: SharedPart) -> Run:
        if self._lost:
            self._tell_lost(topic)
        if not self._collected:
            self._wake()
        topic.use()
        run = Run(topic, self.next_number())
        self._collected.append(run)
        return run

    def next_number(self) -> int:
        """Return the number of the next record with messages."""
        self._numbers += 1
        return self._numbers

    def has_room(self, size: int) -> bool:
        """True when a message of that size may wait."""
        return size <= MAX_MESSAGE_BYTES and (self.size + size <= MAX_QUEUED_BYTES or not self.size)

    def add(self, item: Item) -> None:
        """Take another record, behind what was published."""
        self._run = None
        if not self._collected:
            self._wake()
        self._collected.append(item)
        self.size += item.size

    def withdraw(self, item: Item) -> bool:
        """Send a record no more; False when it was sent."""
        for waiting in (self._collected, item.topic.waiting):
            if item in waiting:
                waiting.remove(item)
                self.size -= item.size
                return True
        return False

    def take(self) -> list[Item]:
        """Return what was collected since the last time."""
        collected, self._collected = self._collected, []
        self._run = None
        return [each.item() if isinstance(each, Run) else each for each in collected]

    def clear(self) -> None:
        """Forget everything."""
        self._collected.clear()
        self._run = None
        self.size = 0

    # -- what was dropped -----------------------------------------------------------------------

    def tell_lost(self) -> None:
        """Tell the log, and the clients of all workers, how many messages were dropped."""
        if self._unsaid:
            log.error("%d messages were dropped: 8 MiB wait for the keeper of histories", self._unsaid)
            self._unsaid = 0
        if self._lost and self.has_room(1):
            for topic in list(self._lost):
                self._tell_lost(topic)

    def _tell_lost(self, topic: SharedPart) -> None:
        count = self._lost.pop(topic, 0)
        if count:
            record = Record(Kind.GAP, 0, topic.key, count, 0)
            self.add(Item(topic, record, is_taken=True))
