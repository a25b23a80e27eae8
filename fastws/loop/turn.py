# cython: annotation_typing=False
"""The turn of the loop: what was said in it is written at its end, what was published is joined once.

A *turn* lasts from the first ``schedule`` or publish to the call that the loop makes after the events
it has at hand; for what is published to many, until a few such calls in a row have brought nothing more
to publish. Everything said in one turn leaves in one write per connection; what a topic published in it
is joined once, and every subscriber with nothing else waiting is given those same bytes. Handlers'
answers to reads leave earlier where 16 wait, and at the end of a poll where the poller reads.

The rule of order: a client receives in the order of the application's calls for it. Each publish takes the
next number of one sequence per loop; an outbox with anything unusual in the turn (a direct send, a
subscription, an exclusion) is *settled* there: it takes what was published for it so far into its own list
and remembers the number (``last_seq``).

What may not live here: encoding, policies of one connection, and anything about HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastws.loop.native import send_many

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.pubsub.hub import Topic

__all__ = ["Turn"]

#: From so many deliveries on, a turn that published goes on while more comes: at most as many times
#: as long as the last such fan-out took, and so many seconds.
MANY, TIMES, LONGEST = 64, 2.0, 0.005

#: So many looks at the sockets that bring nothing end that turn.
LOOKS = 6

#: So many connections' answers are written together: what the kernel does for one is in the
#: processor's cache for the next, and a peer that waits for several is woken once.
TOGETHER = 16

#: After a turn in which one connection alone was answered, so many answers are not waited for.
ALONE = 64


class Turn:
    """One per event loop; everything here runs on that loop."""

    __slots__ = (
        "_alone",
        "_call_soon",
        "_clock",
        "_cost",
        "_deadline",
        "_scheduled",
        "_seen",
        "_vain",
        "_waiting",
        "dirty",
        "number",
        "seq",
    )

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._scheduled = False
        self._waiting: list[Outbox] = []
        #: Answers that go out at once before it is tried again whether others come with them.
        self._alone = 0
        #: Until when this turn may go on, 0 where it was not asked; what had been published then.
        self._deadline = 0.0
        self._seen = 0
        #: Looks at the sockets, in a row, that brought nothing.
        self._vain = 0
        #: Seconds that the last large fan-out took.
        self._cost = 0.0
        #: Topics that published in this turn.
        self.dirty: list[Topic] = []
        self.seq = 0
        self.number = 1

    def schedule(self, outbox: Outbox) -> None:
        """Flush ``outbox`` once, at the end of this turn."""
        if not self._scheduled:
            self._call_soon(self.flush)  # raises in a wrong thread where the loop debugs
            self._scheduled = True
        self._waiting.append(outbox)

    def begin(self) -> bool:
        """Begin a turn that the caller ends by :meth:`end`; False when one has begun already."""
        if self._scheduled:
            return False
        self._scheduled = True
        return True

    def end(self) -> None:
        """Write what was answered; what was published waits for what else the loop's turn brings."""
        if self.dirty:
            self._call_soon(self.flush)
        else:
            self._scheduled = False
        self._flush_waiting()

    def answer(self, outbox: Outbox) -> None:
        """Write what the handler said to one read, together with the answers to others of this turn.

        At once where that gathers nothing: when this is a large message, or when only one connection
        had something to say in the last turn that was waited for.
        """
        most = TOGETHER  # an integer of C where this is compiled
        if outbox.is_large():
            outbox.flush()
        elif self._alone and not self._scheduled:
            self._alone -= 1
            outbox.flush()
        else:
            self.schedule(outbox)
            if len(self._waiting) >= most:
                self._flush_waiting()

    def published(self, topic: Topic) -> int:
        """Note that ``topic`` has something for this turn; return the publish's sequence number."""
        if not topic.batch:
            if not self._scheduled:
                self._call_soon(self.flush)
                self._scheduled = True
            self.dirty.append(topic)
        self.seq += 1
        return self.seq

    def flush(self) -> None:
        """End the turn: join, fan out, and flush every outbox that waits.

        An exception, as of a compressor without memory, goes to the loop when all others have been
        written to.
        """
        if self.dirty and self._waits_for_more():
            self._call_soon(self.flush)
            self._flush_waiting()
            return
        try:
            if self.dirty:
                self._flush_topics()
        finally:
            self._scheduled = False
            self._flush_waiting()

    def _flush_waiting(self) -> None:
        waiting = self._waiting
        if waiting:
            self._waiting = []
            self._alone = ALONE if len(waiting) == 1 else 0
            for outbox in waiting:
                outbox.flush_later()

    def _waits_for_more(self) -> bool:
        """True when a fan-out to many shall have what the sockets bring meanwhile too.

        To look at them once more costs microseconds, to write to every subscriber again hundreds of them.
        Some looks in a row that brought nothing end the turn: one is over before a busy peer has sent again.
        """
        if not self._deadline:
            deliveries = 0
            for topic in self.dirty:
                deliveries += len(topic.subscribers)
            if deliveries < MANY:
                return False
            self._deadline = self._clock() + min(TIMES * self._cost, LONGEST)
            self._vain = 0
        elif self.seq == self._seen:
            self._vain += 1
            if self._vain == LOOKS:
                return False
        elif self._clock() >= self._deadline:
            return False
        else:
            self._vain = 0
        self._seen = self.seq
        return True

    def _flush_topics(self) -> None:
        started = 0.0
        if self._deadline:
            self._deadline = 0.0
            started = self._clock()
        dirty, self.dirty = self.dirty, []
        try:
            if len(dirty) > 1:
                self._settle_shared(dirty)
            self._fan_out_all(dirty)
        finally:
            for topic in dirty:
                topic.batch = []
            self.number += 1
            if started:
                self._cost = self._clock() - started

    def _fan_out_all(self, dirty: list[Topic]) -> None:
        """The first exception is raised when all topics have been tried."""
        failed: Exception | None = None
        for topic in dirty:
            try:
                self._fan_out(topic)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _settle_shared(self, dirty: list[Topic]) -> None:
        """Give every outbox that listens to several of these topics its own, ordered join."""
        seen: set[Outbox] = set()
        for topic in dirty:
            # A copy: the policy of a topic may evict, and who is evicted leaves at once.
            for outbox in list(topic.subscribers):
                if outbox.turn_number == self.number:
                    continue
                if outbox in seen:
                    outbox.take_published(self)
                else:
                    seen.add(outbox)

    def _fan_out(self, topic: Topic) -> None:
        """Hand the batch of ``topic`` to its subscribers: the same bytes to all that are idle."""
        number = self.number
        batch = topic.batch
        # By variant (plain, or compressed with a window of N bits): who is to have those bytes.
        groups: dict[int, list[Outbox]] = {}
        group: list[Outbox] = []
        variant = -1
        for outbox in list(topic.subscribers):
            if outbox.turn_number == number:
                outbox.take_published(self)
            elif outbox.is_idle():
                # Most often it is that of the one before.
                if outbox.frame_variant != variant:
                    variant = outbox.frame_variant
                    group = groups.setdefault(variant, [])
                group.append(outbox)
            else:
                outbox.deliver_batch(topic, batch)
        for variant, outboxes in groups.items():
            write_many(outboxes, topic.join(batch, variant), len(batch))


def write_many(outboxes: list[Outbox], data: bytes, messages: int) -> None:
    """Write the same bytes to many outboxes that hold nothing.

    Plain TCP sockets are written by one C call without the GIL; a descriptor of -1 (TLS, a foreign
    transport, no C module) goes through its transport.
    """
    size = len(data)
    direct = []
    fds = []
    for outbox in outboxes:
        outbox.sent_messages += messages
        outbox.sent_bytes += size
        if outbox.fd >= 0:
            direct.append(outbox)
            fds.append(outbox.fd)
        else:
            outbox.write_through(data)
    if fds:
        assert send_many is not None  # fd is -1 without it
        unusual = send_many(fds, data)
        if unusual is not None:
            for index, taken in unusual:
                direct[index].wrote(taken, memoryview(data)[taken:] if taken > 0 else data)
