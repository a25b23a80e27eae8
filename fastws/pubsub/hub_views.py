# cython: annotation_typing=False
"""The part of a hub that is for feeds: who listens to the view of a topic, and what clients publish."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

from fastws.connection.publication import Publication
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.events import Position, Published, Synced
from fastws.pubsub.fanout import Subscriber, fan_out_of
from fastws.pubsub.gate import Gate
from fastws.pubsub.hub_keyed import HubKeyed
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.lanes import made_lane
from fastws.pubsub.numbered import NumberedTopic, count_resumed
from fastws.pubsub.pace import Pace, least
from fastws.pubsub.pacer import pacer_of
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.views import View, view_of
from fastws.pubsub.wishes import AS_DECLARED, Wish

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.pubsub.fanout import FanOut
    from fastws.pubsub.topic import Topic

__all__ = ["HubViews", "Joined", "lane_of"]

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Joined(NamedTuple):
    """A subscription of a client of a feed."""

    topic: Topic
    #: None where the topic has no positions, and where it is told later (``tells_live`` is True then).
    synced: Synced | None
    #: True where the client is told when it has caught up; else it has.
    tells_live: bool = False
    #: True where messages may be left out though the client keeps up.
    skips: bool = False


class HubViews(HubKeyed):
    """The fifth part of a :class:`fastws.Hub`. It has nothing that is public: see :class:`fastws.Feed`."""

    def _subscribe_view(
        self, ws: Any, topic: str, since: Position | None, recent: int, max_rate: float | None = None
    ) -> Joined | None:
        """Let a client of a feed listen to a topic; None where the client is closing.

        Raises as :meth:`fastws.Hub.subscribe`.
        """
        outbox: Outbox = ws.outbox
        if not outbox.is_open:
            return None
        subscriber = self._subscriber(outbox, ws)
        found = self._listened(topic)
        if recent == AS_DECLARED:
            recent = found.recent if isinstance(found, SequencedTopic) else 0
        rate = self._joins(subscriber, found, max_rate)
        view: Any = found if isinstance(found, KeyedTopic) else view_of(found)
        if view.batch:
            subscriber.take_published()
            if not outbox.is_open:  # what it took evicted it
                view.remove(subscriber)  # type: ignore[unreachable]
                return None
        if isinstance(found, KeyedTopic):
            # It tells itself who has caught up.
            if rate is not None:
                return Joined(
                    found, self._subscribe_paced(subscriber, found, rate, since, 0), tells_live=True
                )
            return Joined(found, self._subscribe_keyed(subscriber, found, since, 0), tells_live=True)
        skips = rate is not None or (found.gate is not None and found.gate.samples())
        if rate is not None:
            paced = self._subscribe_paced(subscriber, view, rate, since, recent)
            return Joined(view, paced, tells_live=view.has_history and paced is None, skips=skips)
        if not view.has_history:
            fan_out = self._fan_out
            assert fan_out is not None
            puller_of(fan_out)  # for when the client is slow
            subscriber.topics[view] = None
            view.subscribers[subscriber] = None
            return Joined(view, None, skips=skips)
        synced = self._subscribe_kept(subscriber, view, since, recent)
        if subscriber not in view.behind:
            return Joined(view, synced, skips=skips)
        view.joining[subscriber] = None
        return Joined(view, synced, tells_live=True, skips=skips)

    def _unsubscribe_view(self, ws: Any, view: Topic) -> None:
        """End what :meth:`_subscribe_view` began."""
        subscriber: Any = ws.outbox.subscriptions
        if subscriber is not None:
            self._leave(subscriber, view)

    async def _publish_noted(
        self,
        topic: str,
        message: Any,
        key: str | None,
        note: bytes,
        once: str | None,
        sender: Any = None,
    ) -> Published | None:
        """Publish what a client has sent; return where it is, None where it has no position.

        ``message`` may be ``REMOVAL``. One that is left out is sent to its ``sender``, where that listens.
        Raises as :meth:`fastws.Hub.publish_confirmed`.
        """
        numbered = None
        if self._sequencer is not None:
            self._enter()
            numbered = self._numbered(topic)
        if numbered is not None and numbered.is_shared:
            shared = self._confirm_shared(numbered, message, key, once, note)
            answer: Published = await asyncio.get_running_loop().create_task(shared)
            return answer
        if numbered is not None:
            if key is None and numbered.gate is not None and not numbered.gate.lets_through(message):
                self._show_own(sender, numbered, message, note)
                return None
            published: Published = self._confirm(numbered, message, key, once, note)
            return published
        if once is not None:
            raise ValueError(f"once is for a topic that keeps messages, which {topic!r} does not")
        if not self._offer(topic, message, key, None, note):
            found = self._find(topic)
            if found is not None and found.gate is not None:
                self._show_own(sender, found, message, note)
        return None

    def _show_own(self, sender: Any, found: Topic, message: str | bytes, note: bytes) -> None:
        """Send a client of a feed its own message, which was left out of a flood."""
        subscriber: Any = None if sender is None else sender.outbox.subscriptions
        if found.view is not None and found.view.is_heard_by(subscriber):
            found.gate.keep_own(
                subscriber, note + encode(TEXT if isinstance(message, str) else BINARY, message)
            )

    def _offer(self, topic: str, message: Any, key: str | None, exclude: Any, note: bytes) -> int:
        """Publish a message, with its note where it has one; see :meth:`fastws.Hub.publish`."""
        found = self._find(topic)
        if self._sequencer is not None and (found is None or found.sequenced):
            numbered = self._numbered(topic)
            if numbered is not None:
                if numbered.gate is not None and key is None and not numbered.gate.is_open:
                    return self._gated(numbered, message, exclude, note)
                return self._publish_numbered(numbered, message, key, exclude, note)
        if key is not None:
            raise self._not_keyed(topic)
        if not isinstance(message, str):
            message = self._checked(found, topic, message)
        if found is not None and found.gate is not None and not found.gate.is_open:
            return self._gated(found, message, exclude, note)
        if found is None or not found.subscribers:
            if self._link is not None or found is not None:
                return self._publish_unheard(found, topic, message, note, exclude)
            return 0
        fan_out = self._fan_out
        assert fan_out is not None
        plain = encode(TEXT if isinstance(message, str) else BINARY, message)
        count = len(found.subscribers)
        excluded: Any = None
        if exclude is not None:
            excluded = exclude.outbox.subscriptions
            if excluded in found.subscribers:
                excluded.take_published()
                count -= 1
            else:
                excluded = None
        if not found.batch:
            self._check_thread()
        if self._link is not None:
            self._link.forward(topic, note + plain if note else plain)
        seq = fan_out.add(found)
        found.batch.append(Publication(found, seq, message, plain))
        if excluded is not None:
            excluded.last_seq = seq
        view: View | None = found.view
        if view is not None:
            view.offer(note + plain if note else plain, fan_out)
            count += view.listeners()
        if found.gate is not None and found.gate.lane is not None:
            count += found.gate.lane.offer(plain, _subscriber_of(exclude))
        return count

    def _publish_as(self, topic: str, message: str | bytes, note: bytes) -> None:
        """Publish what another thread has given."""
        self._offer(topic, message, None, None, note)

    def _gated(self, found: Any, message: Any, exclude: Any, note: bytes) -> int:
        """Publish to a topic that may collect messages, or leave some out."""
        gate: Gate = found.gate
        if isinstance(found, NumberedTopic):
            self._enter()
            if exclude is not None or isinstance(found, KeyedTopic):
                return self._publish_numbered(found, message, None, exclude, note)
            if not isinstance(message, str):
                message = self._checked(found, found.name, message)
        else:
            self._check_thread()
        if not gate.lets_through(message):
            return 0
        if gate.collects():
            return self._collect(found, message, exclude, note)
        gate.is_open = True
        try:
            return self._offer(found.name, message, None, exclude, note)
        finally:
            gate.is_open = False

    def _collect(self, found: Any, message: Any, exclude: Any, note: bytes) -> int:
        """Publish with the next tick; return how many clients listen now."""
        gate: Gate = found.gate
        gate.collect(lambda: self._offer(found.name, message, None, exclude, note))
        listeners: int = found.listeners()
        excluded = _subscriber_of(exclude)
        is_paced = found.paced() and excluded in gate.lane.cursors
        return listeners - int(is_paced or excluded in found.subscribers)

    def _publish_unheard(
        self, found: Topic | None, topic: str, message: str | bytes, note: bytes, exclude: Any
    ) -> int:
        """Publish to a topic that only other processes and feeds listen to, if anybody."""
        view = None if found is None else found.view
        paced = 0 if found is None else found.paced()
        if view is None and self._link is None and not paced:
            return 0
        kept = note + encode(TEXT if isinstance(message, str) else BINARY, message)
        if self._link is not None:
            self._link.forward(topic, kept)
        if paced:
            self._check_thread()
            lane: Any = found.gate.lane  # type: ignore[union-attr]
            paced = lane.offer(kept[len(note) :], _subscriber_of(exclude))
        if view is None:
            return paced
        if not view.batch:
            self._check_thread()
        view.offer(kept, self._fan_out)
        listeners: int = view.listeners()
        return listeners + paced

    def _joins(self, subscriber: Any, found: Topic, max_rate: float | None) -> float | None:
        """One more client listens to a topic; return how many messages a second it may have at most."""
        if found.gate is None:
            return max_rate
        gate: Gate = found.gate
        if gate.collects():
            gate.release()  # it is given what is published from now on
        gate.joined(subscriber)
        return least(max_rate, gate.max_rate)

    def _subscribe_paced(
        self, subscriber: Any, channel: Any, rate: float, since: Position | None, recent: int
    ) -> Synced | None:
        """Let a client listen to a topic or its view at a pace of its own."""
        is_numbered = isinstance(channel, NumberedTopic) and getattr(channel, "has_history", True)
        if is_numbered:
            self._enter()
        if isinstance(channel, KeyedTopic):
            self._check_recent(channel, recent)
            subscriber.outbox.keep_fresh()
        asked, recent = recent, recent if recent != AS_DECLARED else getattr(channel, "recent", 0)
        if is_numbered and not channel.can_sync(since):
            self._wait_for_copy(subscriber, channel, Wish(since, recent, pace=Pace(rate)))
            return None
        if subscriber in channel.subscribers or (is_numbered and subscriber in channel.behind):
            raise self._subscribed_already(channel)
        lane = lane_of(channel, self._fan_out)
        if subscriber in lane.cursors:
            if since is not None or asked > 0:
                raise self._subscribed_already(channel)
            place = lane.cursors[subscriber].place
            return Synced(channel.name, channel.position_at(place)) if is_numbered else None
        synced: Synced | None = None
        if isinstance(channel, KeyedTopic):
            synced, place = channel.sync(since)
        elif is_numbered:
            synced = channel.sync(since, recent)
            place = synced.at.offset + 1
        else:
            place = lane.head()
        if synced is not None:
            count_resumed(subscriber, synced)
        lane.add(subscriber, place, Pace(rate))
        return synced

    def _subscriber(self, outbox: Outbox, ws: Any) -> Subscriber:
        """Return what an outbox is to the topics of this loop."""
        fan_out = fan_out_of(outbox.turn)
        if self._fan_out is not fan_out:
            self._bind(fan_out)
        subscriber: Any = outbox.subscriptions
        if subscriber is None:
            outbox.subscriptions = subscriber = Subscriber(fan_out, outbox, ws)
        found: Subscriber = subscriber
        return found

    def _listened(self, topic: str) -> Topic:
        """Return a topic that has one more client from now on, made where it is missing."""
        found = self._find(topic)
        if found is None:
            found = self._make(topic)
            if self._link is not None and not found.sequenced:
                self._link.follow(topic)
        elif self._link is not None and not (found.sequenced or found.batch or found.is_heard()):
            self._link.follow(topic)
        return found

    def _leave(self, subscriber: Any, found: Topic) -> None:
        """Let a client listen to a topic no more."""
        source: Topic = found.source if isinstance(found, View) else found
        if source.gate is not None and source.gate.collects():
            source.gate.release()  # what was published before still arrives
        if source.presence is not None:
            source.presence.leave(subscriber)
        if subscriber is not None and subscriber.policies is not None:
            subscriber.policies.pop(found, None)
        if found.batch and subscriber in found.subscribers:
            subscriber.take_published()
        if subscriber in found.subscribers:
            found.remove(subscriber)
            subscriber.topics.pop(found, None)
        elif isinstance(found, NumberedTopic) and subscriber in found.behind:
            subscriber.cursors.drop(found)
        elif found.paced() and subscriber in found.gate.lane.cursors:
            lane = found.gate.lane
            lane.remove(subscriber)
            subscriber.topics.pop(lane, None)

    def _bind(self, fan_out: FanOut) -> None:
        if self._fan_out is not None and any(topic.is_heard() for topic in self._topics.values()):
            raise RuntimeError("a hub belongs to one event loop; use publish_threadsafe from another")
        if self._link is not None:
            self._link.bus.check_thread()
        self._fan_out = fan_out
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()


def _subscriber_of(ws: Any) -> Any:
    return None if ws is None else ws.outbox.subscriptions


def lane_of(channel: Any, fan_out: Any) -> Any:
    """Return the lane of a topic or its view, made where it has none."""
    if channel.gate is None:
        channel.gate = Gate(channel, None, None)
    if channel.gate.lane is None:
        channel.gate.lane = made_lane(channel, pacer_of(fan_out))
    return channel.gate.lane
