"""Clients that are behind: for each topic the place where they read on, pulled when the socket takes bytes.

A client is behind when it joins in the past, and when its socket was blocked while something was published
to a topic that keeps its messages or its keys. Nothing is queued for it. A *pull* reads a chunk of the topic
and, where that was the last one, puts the client among those who are given what is published: both in one
call, so that nothing comes in between and nothing comes twice.

Where another process numbers the messages, a client may join before what is kept has come here. It is a
cursor too, which *waits*, and is told where it begins (:class:`fastws.Synced`) before its first message.

Pulls run in *rounds*, in turns of the loop of their own. A round is bounded in bytes and in clients, which
take turns: others have theirs meanwhile. Clients of one round that read the same get the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from fastws.config import SlowConsumerPolicy
from fastws.connection.publication import Publication
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.fanout import FanOut, Subscriber
from fastws.pubsub.numbered import NumberedTopic

log = logging.getLogger("fastws.error")

EVICT = SlowConsumerPolicy.EVICT
DROP_OLDEST = SlowConsumerPolicy.DROP_OLDEST

__all__ = ["Puller", "puller_of"]

#: What all clients are sent in one round: a chunk more at most.
ROUND_BYTES = 1024 * 1024
#: Clients that one round serves: a few milliseconds.
ROUND_CLIENTS = 32


class Chunk:
    """Messages of one topic in a row, and their bytes for each frame variant."""

    __slots__ = ("_joined", "_topic", "batch", "end", "size")

    def __init__(self, topic: NumberedTopic, place: Any) -> None:
        frames, end = topic.read(place)
        self._topic = topic
        self.batch = [Publication(topic, 0, None, frame) for frame in frames]
        self.size = sum(map(len, frames))
        #: The place behind these.
        self.end = end
        self._joined: dict[int, bytes] = {}

    def joined(self, variant: int) -> bytes | None:
        """Return the bytes for connections of that frame variant; None where each has its own."""
        if variant < 0:
            return None
        if variant not in self._joined:
            self._joined[variant] = self._topic.join(self.batch, variant)
        return self._joined[variant]


Chunks = dict[tuple[NumberedTopic, Any], Chunk]


class Cursors:
    """Where one client reads the topics that it is behind on. It has one while there are any."""

    __slots__ = ("_places", "_subscriber", "_syncs", "_waiting", "is_queued", "is_slow")

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._places: dict[NumberedTopic, Any] = {}
        #: Topics of which it is not known where this client begins; and what it is to be told of others.
        self._waiting: dict[NumberedTopic, None] = {}
        self._syncs: dict[NumberedTopic, Synced] = {}
        #: Waits for a round.
        self.is_queued = False
        #: Its socket has refused bytes since it fell behind; else it has only just joined.
        self.is_slow = False

    def add(self, topic: NumberedTopic, place: Any) -> None:
        """Read ``topic`` from ``place`` on."""
        self._places[topic] = place
        topic.behind[self._subscriber] = None
        topic.use()

    def wait(self, topic: NumberedTopic) -> None:
        """Read ``topic`` when it is known from where on."""
        self._places.pop(topic, None)
        self._syncs.pop(topic, None)
        self._waiting[topic] = None
        topic.behind[self._subscriber] = None
        topic.use()

    def begin(self, topic: NumberedTopic, synced: Synced, place: Any) -> None:
        """Read ``topic``, for which this client waits, from there on; tell the handler first."""
        self._waiting.pop(topic, None)
        self._syncs[topic] = synced
        self.add(topic, place)

    def stop_waiting(self, topic: NumberedTopic) -> None:
        """Read ``topic``, for which this client waits, no more: it is a lane's now."""
        self._waiting.pop(topic, None)
        topic.behind.pop(self._subscriber, None)
        self._end_if_empty()

    def position_in(self, topic: NumberedTopic) -> Position | None:
        """Return the position behind which this client reads on in ``topic``; None while it waits."""
        return None if topic in self._waiting else topic.position_at(self._places[topic])

    def topics(self) -> list[NumberedTopic]:
        """Return those that are read."""
        return [*self._places, *self._waiting]

    def drop(self, topic: NumberedTopic) -> None:
        """Read ``topic`` no more."""
        self._places.pop(topic, None)
        self._waiting.pop(topic, None)
        self._syncs.pop(topic, None)
        topic.remove(self._subscriber)
        self._end_if_empty()

    def leave(self) -> None:
        """Read nothing more."""
        topics = self.topics()
        self._places, self._waiting = {}, {}
        for topic in topics:
            topic.remove(self._subscriber)
        self._subscriber.cursors = None

    def _end_if_empty(self) -> None:
        if not self._places and not self._waiting:
            self._subscriber.cursors = None

    def evict(self) -> None:
        """Close this client: it comes back with its position."""
        self._subscriber.outbox.evict()

    def is_ready(self) -> bool:
        """True when there is something to send, and the socket takes it."""
        return bool(self._places) and self._subscriber.outbox.takes_joined()

    def pull(self, chunks: Chunks) -> int:
        """Send a chunk of each topic while the socket takes it; return how many bytes."""
        sent = 0
        for topic in list(self._places):
            if not self.is_ready():
                break
            if topic in self._places and self._tell_sync(topic) and self._skip_forgotten(topic):
                sent += self._pull_topic(topic, chunks)
        if self._places and self._subscriber.outbox.blocked:
            self.is_slow = True
        return sent

    def _tell_sync(self, topic: NumberedTopic) -> bool:
        """Tell where this client begins, if it was not told; False when it is not the time for others."""
        synced = self._syncs.pop(topic, None) if self._syncs else None
        if synced is None:
            return True
        subscriber = self._subscriber
        if not topic.tell_sync(subscriber, synced) and subscriber.policy_of(topic) is not DROP_OLDEST:
            self.evict()
        # What the handler did then decides: it may have unsubscribed, and even subscribed again.
        return self.is_ready() and topic in self._places and topic not in self._syncs

    def _skip_forgotten(self, topic: NumberedTopic) -> bool:
        """Tell a gap where the next message is kept no more; False when it is not the time for others."""
        place, missed = topic.skip_forgotten(self._places[topic])
        if not missed:
            return True
        subscriber = self._subscriber
        outbox = subscriber.outbox
        outbox.count_dropped(missed)
        outbox.counters.row.dropped_oldest += missed
        policy = subscriber.policy_of(topic)
        if self.is_slow and policy is EVICT:
            self.evict()
            return False
        self._places[topic] = place
        if not topic.tell_gap(subscriber, missed, "slow") and policy is not DROP_OLDEST:
            self.evict()  # nothing is left out in silence: it comes back with its position
        # What the handler did then decides: it may have unsubscribed, closed, sent or published.
        return self.is_ready() and topic in self._places and not topic.skip_forgotten(self._places[topic])[1]

    def _pull_topic(self, topic: NumberedTopic, chunks: Chunks) -> int:
        subscriber = self._subscriber
        # Messages of other topics of this turn are before these. And of this topic nothing that it has
        # published in this turn is given twice, when the client is given what comes next.
        subscriber.take_published()
        if not self.is_ready():
            return 0
        place = self._places[topic]
        chunk = chunks.get((topic, place))
        if chunk is None:
            chunks[topic, place] = chunk = Chunk(topic, place)
        outbox = subscriber.outbox
        joined = chunk.joined(outbox.frame_variant)
        if topic.is_end(chunk.end):
            del self._places[topic]
            del topic.behind[subscriber]
            topic.subscribers[subscriber] = None
            subscriber.topics[topic] = None
            self._end_if_empty()
        else:
            self._places[topic] = chunk.end
        if chunk.batch:  # else all of it was forgotten
            outbox.deliver_joined(topic, chunk.batch, joined)
        if subscriber in topic.subscribers:
            topic.caught_up(subscriber)
        return chunk.size


class Puller:
    """Runs the rounds of one loop."""

    __slots__ = ("_is_scheduled", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Cursors] = deque()
        self._is_scheduled = False

    def join(self, subscriber: Subscriber, topic: NumberedTopic, place: Any) -> None:
        """Let a new subscriber read ``topic`` from ``place`` on."""
        self._cursors(subscriber).add(topic, place)
        self.add(subscriber.cursors)

    def wait(self, subscriber: Subscriber, topic: NumberedTopic) -> None:
        """Let a subscriber read ``topic`` when it is known from where on, whatever it was given before."""
        if subscriber in topic.subscribers:
            del topic.subscribers[subscriber]
            del subscriber.topics[topic]
        self._cursors(subscriber).wait(topic)

    def begin(self, subscriber: Subscriber, topic: NumberedTopic, synced: Synced, place: Any) -> None:
        """Let a subscriber that waits read ``topic`` from there on."""
        self._cursors(subscriber).begin(topic, synced, place)
        self.add(subscriber.cursors)

    def fall_behind(self, subscriber: Subscriber, topic: NumberedTopic, batch: list[Publication]) -> None:
        """Let a subscriber whose socket is blocked read ``batch``, and what follows, when it takes bytes."""
        if subscriber not in topic.subscribers:
            return  # an earlier message of this turn has done it
        cursors = self._cursors(subscriber)
        cursors.is_slow = True
        cursors.add(topic, topic.place_of(batch))
        del topic.subscribers[subscriber]
        del subscriber.topics[topic]

    def add(self, cursors: Cursors) -> None:
        """Serve these cursors in the next round."""
        if not cursors.is_queued:
            cursors.is_queued = True
            self._waiting.append(cursors)
            self._schedule()

    def _cursors(self, subscriber: Subscriber) -> Cursors:
        if subscriber.cursors is None:
            subscriber.cursors = Cursors(subscriber)
        cursors: Cursors = subscriber.cursors
        return cursors

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_round)

    def _run_round(self) -> None:
        self._is_scheduled = False
        chunks: Chunks = {}
        left = ROUND_BYTES
        turns = min(len(self._waiting), ROUND_CLIENTS)
        try:
            while turns and left > 0:
                turns -= 1
                cursors = self._waiting.popleft()
                cursors.is_queued = False
                left -= self._pull(cursors, chunks)
                if cursors.is_ready():
                    self.add(cursors)
        finally:
            if self._waiting:
                self._schedule()

    def _pull(self, cursors: Cursors, chunks: Chunks) -> int:
        try:
            return cursors.pull(chunks)
        except Exception:
            # As of a compressor without memory: this client ends, and no other's round.
            log.exception("what topics have kept cannot be sent")
            cursors.evict()
            return 0


def puller_of(fan_out: FanOut) -> Puller:
    """Return the puller of a loop, made when it is first asked for. Only on that loop."""
    if fan_out.puller is None:
        fan_out.puller = Puller(asyncio.get_running_loop())
    puller: Puller = fan_out.puller
    return puller
