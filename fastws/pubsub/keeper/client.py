"""A worker's side of the keeper: what it publishes to topics with a history, and what comes back numbered.

What is published waits until the keeper has *taken* it. The keeper says so before it tells anybody else, so
what it had not taken when it ended is published by the next keeper, and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.numbering import Numbering
from fastws.pubsub.bus.peer import TORN, Peer
from fastws.pubsub.bus.receiving import Receiver
from fastws.pubsub.bus.records import BadRecord, Flag, Kind, Record
from fastws.pubsub.keeper.copies import Copies
from fastws.pubsub.keeper.questions import Questions
from fastws.pubsub.keeper.queue import Item, Queue
from fastws.pubsub.keeper.records import (
    KEEPER_IDENTITY,
    READING_REFUSED,
    REFUSED_BY_BROKER,
    NoHubs,
    read_confirmed,
)
from fastws.pubsub.keeper.refusals import tell_refused
from fastws.pubsub.keeper.shared_topic import Copy, Seat, SharedPart

__all__ = ["KeeperClient"]

log = logging.getLogger("fastws.error")

#: Seconds that the keeper has to take what waits when this process leaves, and between two looks.
CLOSE_SECONDS, LOOK_SECONDS = 1.0, 0.005


class KeeperClient(Numbering):
    """Everything here runs on the loop of the bus.

    Args:
        bus: This process's bus; its hubs are those whose topics are shared.
        want: Called when the first numbered topic is declared: there shall be a keeper. It may be called more
            than once.
        failed: Called with the number of a keeper that says what makes no sense, and is let go.
    """

    is_possible = True

    def __init__(
        self, bus: Any, want: Callable[[], None], failed: Callable[[int], None] | None = None
    ) -> None:
        self._bus = bus
        self.want = want
        self._failed = failed
        #: Which keeper it is, in the order of their starts.
        self._number = 0
        #: By key: those that the keeper knows or shall know.
        self.topics: dict[bytes, SharedPart] = {}
        self.queue = Queue(self._schedule)
        self.questions = Questions(self.queue)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._peer: Peer | None = None
        #: Records that leave at the end of this turn.
        self._out: list[Record] = []
        #: Written to this keeper, which has not said that it has taken them; and how many it has.
        self._sent: deque[Item] = deque()
        self._taken = 0
        self._is_scheduled = False
        #: What the log has said of settings that differ.
        self._said: set[tuple[str, int]] = set()
        self.copies = Copies(bus.hubs, self.queue)
        self._receives: dict[int, Callable[[SharedPart, Record], None]] = {
            Kind.ACCEPTED: self._accepted,
            Kind.REFUSED: self._refused,
            **self.copies.receives,
        }

    @property
    def is_connected(self) -> bool:
        """True when there is a keeper, and it has said hello."""
        return self._peer is not None and self._peer.has_said_hello

    # -- the line -------------------------------------------------------------------------------

    def connect(self, sock: socket.socket, number: int = 0) -> Peer:
        """Take a keeper, which has just been started. What an earlier one has not taken is its part now."""
        self._number = number
        if self._peer is not None:
            self._peer.close()
            self._lose()
        self._peer = peer = Peer(
            sock, KEEPER_IDENTITY, receiver=Receiver(NoHubs()), receive=self._received, lost=self._lost
        )
        if self._loop is not None:
            self._open(self._loop)
        return peer

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read and write from now on."""
        self._loop = loop
        if self._peer is not None:
            self._open(loop)
        self._schedule()

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._peer is not None
        self._peer.start(loop, self._bus.identity)
        for topic in self.topics.values():
            if topic.copy is not Copy.NONE or topic.waiting:
                self._declare(topic)
        self._write()

    async def wait(self, timeout: float) -> None:
        """Wait until there is a keeper. Raises :class:`BrokerUnavailable` after ``timeout`` seconds."""
        for _ in range(max(int(timeout / LOOK_SECONDS), 1)):
            if self.is_connected:
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise BrokerUnavailable(f"no keeper of histories has answered within {timeout:g} s")

    async def close(self) -> None:
        """Let the keeper take what waits, for a second at most, and let go of it."""
        if self._loop is not None:
            self.flush()
            for _ in range(int(CLOSE_SECONDS / LOOK_SECONDS)):
                if not self.queue.size:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        if self.queue.size:
            log.error(
                "the keeper has not taken %d bytes of messages at the end of this process", self.queue.size
            )
        self.reset()

    def reset(self, *, forked: bool = False) -> None:
        """Be as before the start, without a keeper."""
        if self._peer is not None:
            self._peer.close(forked=forked)
            self._peer = None
        self._sent.clear()
        self._taken = 0
        self._out.clear()
        self.queue.clear()
        for topic in self.topics.values():
            topic.waiting.clear()
            topic.lose_copy()
        self._loop = None
        self._is_scheduled = False

    def _lost(self, peer: Peer, reason: str) -> None:
        if peer is self._peer:
            if reason:
                log.error("the keeper of histories is dropped: %s", reason)
            if reason and reason != TORN and self._failed is not None:
                self._failed(self._number)
            self._lose()

    def _lose(self) -> None:
        """The keeper is gone: what it has not taken waits for the next one."""
        self._peer = None
        self._out.clear()
        sent, self._sent, self._taken = self._sent, deque(), 0
        unsent = {topic: topic.waiting for topic in self.topics.values()}
        for topic in unsent:
            topic.lose_copy()
            topic.waiting = [] if topic.copy is Copy.NONE else [Item.follow(topic)]
        for item in sent:
            if item.is_refused:
                self.queue.size -= item.size
                continue
            self.topics[item.topic.key] = item.topic
            item.topic.waiting.append(item)
        for topic, waiting in unsent.items():
            topic.waiting += [item for item in waiting if item.is_taken]

    # -- what leaves ----------------------------------------------------------------------------

    def forget(self, topic: SharedPart) -> None:
        """This process uses a topic no more."""
        if self.topics.get(topic.key) is not topic:
            return
        del self.topics[topic.key]
        topic.partings = 0
        if topic.seat in (Seat.ACCEPTED, Seat.REFUSED, Seat.ASKED):
            self._out.append(Record(Kind.DECLARE, Flag.NONE, topic.key, 0, 0))
            topic.seat = Seat.NONE
            self._schedule()

    def _schedule(self) -> None:
        if self._loop is None:
            if self._bus.loop is None:
                self._bus.wake()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what this turn has published and asked."""
        self._is_scheduled = False
        for item in self.queue.take():
            topic = item.topic
            if topic.seat is Seat.ACCEPTED:
                self._send(item)
                continue
            topic.waiting.append(item)
            self.topics[topic.key] = topic
            if topic.seat is Seat.NONE and self._peer is not None:
                self._declare(topic)
        self._write()

    def _declare(self, topic: SharedPart) -> None:
        declaration = topic.declaration
        topic.seat = Seat.ASKED
        self._out.append(Record(Kind.DECLARE, Flag.TOPIC, topic.key, 0, declaration.digest, declaration.body))

    def _send(self, item: Item) -> None:
        self._out.append(item.record)
        if item.is_taken:
            self._sent.append(item)

    def _write(self) -> None:
        out, self._out = self._out, []
        if out and self._peer is not None:
            self._peer.write_records(out)

    # -- what comes -----------------------------------------------------------------------------

    def _received(self, peer: Peer, record: Record) -> None:
        try:
            self._take(peer, record)
        except BadRecord:
            raise
        except Exception:
            log.exception("a record of the keeper of histories cannot be taken")
            raise BadRecord("this worker failed at what it says") from None

    def _take(self, peer: Peer, record: Record) -> None:
        kind = record.kind
        if kind == Kind.TAKEN:
            self._note_taken(record.number)
        elif kind == Kind.CONFIRMED:
            self.questions.answered(record.number, *read_confirmed(record))
        elif kind == Kind.HELLO:
            if record.number != KEEPER_IDENTITY:
                raise BadRecord("it is no keeper")
            peer.has_said_hello = True
        else:
            receive = self._receives.get(kind)
            if receive is None:
                raise BadRecord(f"a record of kind {kind}, which is not for a worker")
            topic = self.topics.get(record.key)
            if topic is not None:  # else it was forgotten meanwhile
                receive(topic, record)

    def _note_taken(self, number: int) -> None:
        count = number - self._taken
        if not 0 <= count <= len(self._sent):
            raise BadRecord("it has taken what was not sent")
        self._taken = number
        for _ in range(count):
            self.queue.size -= self._sent.popleft().size

    def _accepted(self, topic: SharedPart, record: Record) -> None:
        topic.seat = Seat.ACCEPTED
        waiting, topic.waiting = topic.waiting, []
        for item in waiting:
            self._send(item)
        self._write()

    def _refused(self, topic: SharedPart, record: Record) -> None:
        topic.refusal = f"topic {topic.name!r}: {record.body.decode('utf-8', 'replace')}"
        if record.amount != READING_REFUSED:
            self._lose_seat(topic)
        if record.number == REFUSED_BY_BROKER:
            tell_refused(topic)

    def _lose_seat(self, topic: SharedPart) -> None:
        """What is published to a topic waits; what is kept is asked for again when it is accepted."""
        if topic.seat is Seat.ACCEPTED and topic.copy is not Copy.NONE:
            topic.lose_copy()
            topic.waiting.insert(0, Item.follow(topic))
        topic.seat = Seat.REFUSED
        self.questions.refuse(topic)
        said = topic.hub_name, topic.declaration.digest
        if said not in self._said:
            self._said.add(said)
            log.error("%s; until that has changed, what is published here waits", topic.refusal)

    # -- once a second --------------------------------------------------------------------------

    def tick(self) -> None:
        """Ask again where the keeper has refused; let go of copies that nobody uses; say what was lost."""
        for topic in list(self.topics.values()):
            if topic.hub_name not in self._bus.hubs:
                self.forget(topic)
            elif topic.is_used():
                topic.idle_ticks = 0
            elif self.copies.rest(topic) and topic.seat is Seat.ACCEPTED:
                topic.partings += 1
                self._out.append(Record(Kind.FOLLOW, Flag.NONE, topic.key, 0, 0))
            if topic.seat is Seat.REFUSED:
                self._declare(topic)
        self.queue.tell_lost()
        self._schedule()
