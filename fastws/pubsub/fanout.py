# cython: annotation_typing=False
"""How what topics publish reaches their subscribers, and in which order.

**The rule of order.** A client receives in the order of the application's calls for it. Each publish takes
the next number of one sequence per loop (``FanOut.seq``). At the end of the turn each topic is joined once,
and every subscriber for which nothing else has happened in the turn is given those same bytes. A subscriber
for which something else happens (a direct send, a subscription, an exclusion) first *takes* what was
published for it so far, in order, and remembers up to which number (``Subscriber.last_seq``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.counters import UNCOUNTED
from fastws.connection.outbox import Outbox, Subscriptions
from fastws.connection.publication import Channel, Publication
from fastws.loop.native import send_many
from fastws.loop.turn import Published, Turn
from fastws.meters.meters import measuring
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.connection._counters import Counters

__all__ = ["FanOut", "Subscriber", "fan_out_of", "write_many"]

#: From so many deliveries on, a turn that published goes on while more comes.
LARGE_FAN_OUT = 64
#: It goes on so many times as long as the last large fan-out took, and at most so many seconds.
WAIT_FACTOR = 2.0
LONGEST_WAIT = 0.005
#: Looks at the sockets in a row that bring nothing more to publish, and end the turn.
IDLE_LOOKS = 6
#: One turn of so many is measured, where somebody measures: two clocks and two histograms cost a microsecond.
TURNS_A_STAMP = 16


class Subscriber(Subscriptions):
    """What one connection listens to, over all hubs of its loop, and what it has taken of this turn."""

    __slots__ = ("cursors", "fan_out", "last_seq", "outbox", "topics", "turn_number", "ws")

    def __init__(self, fan_out: FanOut, outbox: Outbox, ws: Any) -> None:
        self.fan_out = fan_out
        self.outbox = outbox
        #: What the application gave to :meth:`Hub.subscribe`.
        self.ws = ws
        #: Those whose messages it is given when they are published.
        self.topics: dict[Topic, None] = {}
        #: Where it reads those that keep what it has not been given yet; None where there are none.
        self.cursors: Any = None
        #: The turn in which it took something, and the number up to which it has taken all.
        self.turn_number = 0
        self.last_seq = 0
        self.policies = None

    def take_published(self) -> None:
        """Deliver, in the order of publishing, what this turn published for this client so far."""
        fan_out = self.fan_out
        if self.turn_number != fan_out.turn_number:
            self.turn_number = fan_out.turn_number
            self.last_seq = 0
        after = self.last_seq
        self.last_seq = fan_out.seq
        topics = [topic for topic in self.topics if topic.batch]
        if len(topics) == 1:
            batch = [publication for publication in topics[0].batch if publication.seq > after]
            if batch:
                self.outbox.deliver_batch(topics[0], batch)
            return
        taken = [publication for topic in topics for publication in topic.batch if publication.seq > after]
        taken.sort(key=_sequence)
        start = 0
        for end in range(1, len(taken) + 1):
            # A run of one topic may merge; a message of another topic between two ends the run.
            if end == len(taken) or taken[end].channel is not taken[start].channel:
                self.outbox.deliver_batch(taken[start].channel, taken[start:end])
                start = end

    def fall_behind(self, channel: Channel, batch: list[Publication]) -> None:
        self.fan_out.puller.fall_behind(self, channel, batch)

    def writable(self) -> None:
        if self.cursors is not None:
            self.fan_out.puller.add(self.cursors)
        if self.fan_out.pacer is not None:
            self.fan_out.pacer.unblock(self)

    def leave(self) -> None:
        """End all subscriptions. What was published in this turn and not taken yet does not arrive."""
        topics, self.topics = self.topics, {}
        for topic in topics:
            topic.remove(self)
        if self.cursors is not None:
            self.cursors.leave()
        self.ws = None


class FanOut(Published):
    """One for each event loop; everything here runs on that loop."""

    __slots__ = (
        "_deadline",
        "_idle_looks",
        "_last_cost",
        "_seen",
        "_stamp",
        "_topics",
        "_turn",
        "_until_stamp",
        "meters",
        "pacer",
        "puller",
        "seq",
        "turn_number",
    )

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        #: Topics that published in this turn.
        self._topics: list[Topic] = []
        #: Serves those who are behind (:mod:`fastws.pubsub.cursors`), once a topic keeps its messages.
        self.puller: Any = None
        #: Serves those who listen at a pace of their own (:mod:`fastws.pubsub.lanes`), once there are some.
        self.pacer: Any = None
        #: The number of the last publish, and that of the turn.
        self.seq = 0
        self.turn_number = 1
        #: Until when this turn may go on, 0 where it was not asked; and the last publish that was seen then.
        self._deadline = 0.0
        self._seen = 0
        #: Looks at the sockets, in a row, that brought nothing.
        self._idle_looks = 0
        #: Seconds that the last large fan-out took.
        self._last_cost = 0.0
        #: What measures here (:mod:`fastws.meters`); None: nobody does.
        self.meters: Any = measuring()
        #: When the first message of this turn was published, in the turns that are measured; 0 in others.
        self._stamp = 0.0
        self._until_stamp = 0

    def add(self, topic: Topic) -> int:
        """Note that ``topic`` has one more message for this turn; return its number in the sequence."""
        if not topic.batch:
            self._turn.publish()
            if self.meters is not None and not self._topics:
                self._begin_stamp()
            self._topics.append(topic)
        self.seq += 1
        return self.seq

    def waits_for_more(self) -> bool:
        """True when a fan-out to many shall have what the sockets bring meanwhile too.

        One more look at the sockets costs microseconds, and one more write to every subscriber hundreds of
        them. Some looks in a row that brought nothing end the turn: one is over before a busy peer has sent
        again.
        """
        if not self._deadline:
            deliveries = 0
            for topic in self._topics:
                deliveries += len(topic.subscribers)
            if deliveries < LARGE_FAN_OUT:
                return False
            self._deadline = self._turn.clock() + min(WAIT_FACTOR * self._last_cost, LONGEST_WAIT)
            self._idle_looks = 0
        elif self.seq == self._seen:
            self._idle_looks += 1
            if self._idle_looks == IDLE_LOOKS:
                return False
        elif self._turn.clock() >= self._deadline:
            return False
        else:
            self._idle_looks = 0
        self._seen = self.seq
        return True

    def flush(self) -> None:
        """Join what each topic has published, and give it to its subscribers."""
        started = 0.0
        if self._deadline or self._stamp:
            self._deadline = 0.0
            started = self._turn.clock()
        topics, self._topics = self._topics, []
        try:
            if len(topics) > 1:
                self._take_shared(topics)
            self._deliver_all(topics)
        finally:
            for topic in topics:
                topic.batch = []
            self.turn_number += 1
            if started:
                now = self._turn.clock()
                self._last_cost = now - started
                if self._stamp:
                    self.meters.publishes.observe(now - started)
                    self.meters.deliveries.observe(now - self._stamp)
                    self._stamp = 0.0

    def _begin_stamp(self) -> None:
        """Measure one turn of some."""
        self._until_stamp -= 1
        if self._until_stamp < 0:
            self._until_stamp = TURNS_A_STAMP - 1
            self._stamp = self._turn.clock()

    def _deliver_all(self, topics: list[Topic]) -> None:
        """The first exception is raised when all topics have been tried."""
        failed: Exception | None = None
        for topic in topics:
            messages = len(topic.batch)
            topic.tally.row.messages_received += messages
            topic.tally.row.messages_sent += messages * len(topic.subscribers)
            try:
                self._deliver(topic)
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _take_shared(self, topics: list[Topic]) -> None:
        """Give every subscriber of several of these topics its own, ordered join."""
        seen: set[Subscriber] = set()
        for topic in topics:
            # A copy: the policy of a topic may evict, and who is evicted leaves at once.
            for subscriber in list(topic.subscribers):
                if subscriber.turn_number == self.turn_number:
                    continue
                if subscriber in seen:
                    subscriber.take_published()
                else:
                    seen.add(subscriber)

    def _deliver(self, topic: Topic) -> None:
        """Hand the batch of ``topic`` to its subscribers: the same bytes to all that are idle."""
        number = self.turn_number
        batch = topic.batch
        # By frame variant and server: who is to have those bytes, and where that is counted.
        groups: dict[tuple[int, Counters], list[Outbox]] = {}
        group: list[Outbox] = []
        variant = -1
        counters = UNCOUNTED
        for subscriber in list(topic.subscribers):
            outbox = subscriber.outbox
            if subscriber.turn_number == number:
                subscriber.take_published()
            elif outbox.is_idle():
                # Most often it is that of the one before.
                if outbox.frame_variant != variant or outbox.counters is not counters:
                    variant = outbox.frame_variant
                    counters = outbox.counters
                    group = groups.setdefault((variant, counters), [])
                group.append(outbox)
            else:
                outbox.deliver_batch(topic, batch)
        for (variant, counters), outboxes in groups.items():
            write_many(outboxes, topic.join(batch, variant), len(batch), counters)


def fan_out_of(turn: Turn) -> FanOut:
    """Return the fan-out of a loop's turn, made when it is first asked for."""
    if turn.published is None:
        turn.published = FanOut(turn)
    fan_out: Any = turn.published
    found: FanOut = fan_out
    return found


def _sequence(publication: Publication) -> int:
    return publication.seq


def write_many(outboxes: list[Outbox], data: bytes, messages: int, counters: Counters) -> None:
    """Write the same bytes to many outboxes that hold nothing, all of one server.

    Plain TCP sockets are written by one C call without the GIL. A descriptor of -1 (TLS, a foreign
    transport, no C module) goes through its transport.
    """
    size = len(data)
    counters.row.messages_sent += messages * len(outboxes)
    counters.row.bytes_sent += size * len(outboxes)
    fds = []
    through = []
    for outbox in outboxes:
        outbox.sent_messages += messages
        outbox.sent_bytes += size
        if outbox.fd >= 0:
            fds.append(outbox.fd)
        else:
            through.append(outbox)
    # Most often all are direct, and nobody needs a list of those that are.
    direct = outboxes if not through else [outbox for outbox in outboxes if outbox.fd >= 0]
    for outbox in through:
        outbox.write_through(data)
    if fds:
        assert send_many is not None  # fd is -1 without it
        unusual = send_many(fds, data)
        if unusual is not None:
            for index, taken in unusual:
                direct[index].wrote(taken, memoryview(data)[taken:] if taken > 0 else data)
