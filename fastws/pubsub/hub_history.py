# cython: annotation_typing=False
"""The part of a hub that is about numbered topics: positions, replays, followers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Any

from fastws.config import UNSET, check_number
from fastws.connection.compression_meter import CompressionUse
from fastws.connection.publication import Publication
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.audience import Audience
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.events import Message, Position, Synced
from fastws.pubsub.follower import Follower
from fastws.pubsub.keeper.sequencer import SharedSequencer
from fastws.pubsub.numbered import NumberedTopic, count_resumed
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.sequencer import Sequencer
from fastws.pubsub.wishes import AS_DECLARED, Wish

if TYPE_CHECKING:
    from fastws.pubsub.fanout import Subscriber
    from fastws.pubsub.topic import Topic

__all__ = ["HubHistory", "arrive", "position_of", "starts_of"]

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
#: What is kept by another process has so long to come here.
ARRIVE_SECONDS = 5.0


class HubHistory(Audience):
    """The third part of a :class:`fastws.Hub`."""

    async def position(self, topic: str) -> Position:
        """Return the position behind the last message of a topic with a history, or change of a keyed one.

        Raises:
            ValueError: The topic is neither, or its name is a bad one.
            RuntimeError: Called in another thread than that of the hub's loop.
            BrokerUnavailable: Workers share the hub, and what is kept has not come here within 5 seconds.
        """
        found = self._with_positions(topic)
        await arrive(found)
        return found.last_position()

    async def history(
        self, topic: str, limit: int = 100, before: Position | str | None = None
    ) -> list[Message]:
        """Return the last messages that a topic with a history keeps, the oldest of them first.

        Args:
            topic: The topic's name.
            limit: How many at most. Default 100.
            before: The position of a message, or its text: return those before that one, for pages that go
                back. Where it is of another epoch, nothing is before it. Default None: the newest.

        Raises:
            ValueError: The topic keeps no history, its name is a bad one, ``before`` is no position, or
                ``limit`` is negative.
            TypeError: ``limit`` is no integer, or ``before`` no position or text.
            RuntimeError: Called in another thread than that of the hub's loop.
            BrokerUnavailable: As :meth:`position`.
        """
        check_number("limit", limit, 0)
        end = None if before is None else position_of(before)
        kept = self._kept(topic)
        await arrive(kept)
        kept.expire()
        history = kept.history
        stop = history.next
        if end is not None:
            stop = 0 if end.epoch != kept.epoch else min(stop, end.offset)
        start = max(history.first, stop - limit)
        frames = kept.frames(start, history.size + 1, max(stop - start, 0))
        return [
            Message(kept.name, Publication(kept, 0, None, frame).message, kept.position(start + index))
            for index, frame in enumerate(frames)
        ]

    def follow(
        self, *topics: str, since: Position | str | Mapping[str, Position | str] | None = None
    ) -> Follower:
        """Follow topics with a history, or keyed ones, inside of this process: a :class:`fastws.Follower`.

        Args:
            topics: Their names.
            since: Where to begin: a position or its text for one topic, or a mapping from names to these for
                several. Default: from the beginning of the follower's block on.

        Raises:
            ValueError: No topic was given, or one twice; one has no positions, or its name is a bad one;
                ``since`` is no position, is one for several topics, or names another topic.
            TypeError: ``since`` is nothing of this.
            RuntimeError: Called in another thread than that of the hub's loop.
        """
        starts = starts_of(topics, since)
        for name in topics:
            self._with_positions(name)

        def begin(follower: Follower) -> None:
            for name, start in starts.items():
                follower.add(self._with_positions(name), start)

        return Follower(begin)

    # -- what a hub does with such a topic -------------------------------------------------------

    def _with_positions(self, topic: str) -> NumberedTopic:
        """Return a numbered topic, made where it is missing. Raises ``ValueError`` for another one."""
        if self._sequencer is None:
            found = None
        else:
            self._enter()
            found = self._numbered(topic)
        if found is None:
            raise self._no_history(topic)
        return found

    def _kept(self, topic: str) -> SequencedTopic:
        """Return a topic with a history, made where it is missing. Raises ``ValueError`` for another one."""
        found = self._with_positions(topic)
        if not isinstance(found, SequencedTopic):
            raise ValueError(f"topic {topic!r} is keyed: it has a snapshot, and no history")
        return found

    def _no_history(self, topic: str) -> ValueError:
        return ValueError(
            f"topic {topic!r} keeps no history: declare it with hub.topic({topic!r}, history=...)"
        )

    def _enter(self) -> None:
        """Hold on to the loop that runs. Raises ``RuntimeError`` in another thread than that of the hub's."""
        try:
            if asyncio.get_running_loop() is self._entered:
                return
        except RuntimeError:
            pass
        self._check_thread()
        self._sequencer.enter()
        self._entered = self._sequencer.loop
        if self._loop is None or self._loop.is_closed():
            self._loop = self._entered
            self._thread = get_ident()

    def _publish_kept(
        self, topic: SequencedTopic, message: str | bytes, exclude: Any = None, note: bytes = b""
    ) -> int:
        """Give a message its position, and to who keeps up; return how many clients listen."""
        if exclude is not None:
            raise TypeError(
                f"exclude= cannot be with topic {topic.name!r}: its messages are numbered for all alike"
            )
        if not isinstance(message, str):
            message = self._checked(topic, topic.name, message)
        self._enter()
        plain = encode(TEXT if isinstance(message, str) else BINARY, message)
        kept = note + plain if note else plain
        if topic.is_shared:
            shared: Any = topic
            shared.client.queue.publish(topic, kept)
            return topic.listeners()
        topic.keep(kept)
        if topic.subscribers:
            fan_out = self._fan_out
            assert fan_out is not None
            seq = fan_out.add(topic)
            topic.batch.append(Publication(topic, seq, message, plain))
        if topic.view is not None:
            topic.view.offer(kept, self._fan_out)
        return topic.listeners()

    def compression(self, topic: str) -> CompressionUse | None:
        """Return what compression has done for a topic's messages; None where none was compressed.

        A topic whose messages become less than a tenth smaller sends them as they are, and tries again later.
        """
        found = self._topics.get(topic)
        return None if found is None or found.meter is None else found.meter.use()

    def kept_bytes(self) -> int:
        """Return the bytes of all messages and values that topics keep."""
        return sum(topic.kept_bytes() for topic in self._topics.values() if topic.sequenced or topic.view)

    def share_over(self, bus: Any) -> None:
        """Share with the hubs of this name on another bus, or on none any more; for hubs of one test.

        Raises ``ValueError`` where the hub shares already, or numbers topics itself.
        """
        if bus is None:
            self._share_presence(None)
            link, self._link = self._link, None
            if link is not None:
                link.bus.leave(self.name)
            if self._sequencer is not None:
                self._sequencer.close()
                for name in [name for name, topic in self._topics.items() if topic.sequenced]:
                    del self._topics[name]
                self._sequencer = Sequencer(self._topics, self._tickers)
                self._entered = None
            return
        if self._link is not None:
            raise ValueError(f"the hub {self.name!r} shares what is published already")
        if any(topic.sequenced for topic in self._topics.values()):
            raise ValueError(f"the hub {self.name!r} has numbered messages itself: nobody else can go on")
        self._link = bus.join(self, self.name)
        self._share_presence(self._link)
        if self._sequencer is not None:
            self._sequencer = SharedSequencer(self._topics, self._tickers, bus.keeper, self.name)
            self._entered = None

    def _subscribe_kept(
        self, subscriber: Subscriber, topic: SequencedTopic, since: Position | None, recent: int
    ) -> Synced | None:
        """Let a client listen, from a position in the past or from now on."""
        self._enter()
        fan_out = self._fan_out
        assert fan_out is not None
        if subscriber in topic.subscribers or subscriber in topic.behind:
            if since is not None or recent > 0:
                raise self._subscribed_already(topic)
            return self._going_on(subscriber, topic, topic.last_position())
        puller = puller_of(fan_out)
        if recent == AS_DECLARED:
            recent = topic.recent
        if not topic.can_sync(since):
            self._wait_for_copy(subscriber, topic, Wish(since, recent))
            return None
        synced = topic.sync(since, recent)
        count_resumed(subscriber, synced)
        if synced.at.offset + 1 < topic.history.next:
            puller.join(subscriber, topic, synced.at.offset + 1)
            return synced
        topic.use()
        subscriber.topics[topic] = None
        topic.subscribers[subscriber] = None
        return synced

    def _subscribed_already(self, topic: NumberedTopic) -> ValueError:
        return ValueError(f"topic {topic.name!r} is subscribed already: unsubscribe first")

    def _going_on(self, subscriber: Subscriber, topic: NumberedTopic, at: Position | None) -> Synced | None:
        """Return where a subscription that exists goes on: at ``at``, unless it is behind."""
        if subscriber in topic.behind:
            at = subscriber.cursors.position_in(topic)
        return None if at is None else Synced(topic.name, at)

    def _wait_for_copy(self, subscriber: Subscriber, topic: NumberedTopic, wish: Wish) -> None:
        """Let a client listen when what another process keeps has come here."""
        fan_out = self._fan_out
        assert fan_out is not None
        puller_of(fan_out).wait(subscriber, topic)
        topic.wait(subscriber, wish)

    def _frame(self, topic: SequencedTopic, message: str | bytes, note: bytes) -> bytes:
        """Return the plain frame of a message for a topic, with its note. Raises ``TypeError``."""
        if not isinstance(message, str):
            message = self._checked(topic, topic.name, message)
        return note + encode(TEXT if isinstance(message, str) else BINARY, message)

    def _checked(self, found: Topic | None, topic: str, message: object) -> bytes:
        """Return a binary message, copied where it could change. Raises ``TypeError``."""
        if message is UNSET:
            raise TypeError("publish a message, or json=")
        if not isinstance(message, (bytes, bytearray, memoryview)):
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if found is not None and found.merge is not None:
            raise TypeError(f"topic {topic!r} merges text; it takes str, not {type(message).__name__}")
        return bytes(message)

    def _check_thread(self) -> None:
        """Raise in another thread than the loop's, which would not wake up: the message left when it pleases.

        Asked by the first publish of a turn, so that it costs little. A loop that does not run is anybody's.
        """
        # Asking for the running loop is a system call (Python 3.11): a flood of messages that are left out
        # asks for each.
        if self._thread == get_ident():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop and self._loop is not None and self._loop.is_running():
            raise RuntimeError("a hub belongs to the thread of its loop; here use publish_threadsafe")


def starts_of(
    topics: tuple[str, ...], since: Position | str | Mapping[str, Position | str] | None
) -> dict[str, Position | None]:
    """Return where each topic begins."""
    starts: dict[str, Position | None] = dict.fromkeys(topics)
    if not topics or len(starts) != len(topics):
        raise ValueError("follow one topic or several, each once")
    if since is None:
        return starts
    if not isinstance(since, Mapping):
        if len(topics) > 1:
            raise ValueError("since= of several topics is a mapping from their names to positions")
        since = {topics[0]: since}
    for name, given in since.items():
        if name not in starts:
            raise ValueError(f"since= names topic {name!r}, which is not followed")
        starts[name] = position_of(given)
    return starts


async def arrive(topic: NumberedTopic) -> None:
    """Wait until all is here that a topic keeps. Raises :class:`BrokerUnavailable`."""
    if topic.is_shared:
        shared: Any = topic
        await shared.arrive(ARRIVE_SECONDS)


def position_of(given: Any) -> Position:
    """Return a position, or the one that a text says. Raises ``ValueError`` and ``TypeError``."""
    return given if isinstance(given, Position) else Position.parse(given)
