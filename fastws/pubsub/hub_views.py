# cython: annotation_typing=False
"""The part of a hub that is for feeds: who listens to the view of a topic, and what clients publish."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from fastws.connection.publication import Publication
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.events import Position, Published, Synced
from fastws.pubsub.fanout import Subscriber, fan_out_of
from fastws.pubsub.hub_keyed import HubKeyed
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.views import view_of

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.pubsub.fanout import FanOut
    from fastws.pubsub.topic import Topic

__all__ = ["HubViews", "Joined"]

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Joined(NamedTuple):
    """A subscription of a client of a feed."""

    topic: Topic
    #: None where the topic has no positions, and where it is told later (``tells_live`` is True then).
    synced: Synced | None
    #: True where the client is told when it has caught up; else it has.
    tells_live: bool = False


class HubViews(HubKeyed):
    """The third part of a :class:`fastws.Hub`. It has nothing that is public: see :class:`fastws.Feed`."""

    def _subscribe_view(self, ws: Any, topic: str, since: Position | None, recent: int) -> Joined | None:
        """Let a client of a feed listen to a topic; None where the client is closing.

        Raises as :meth:`fastws.Hub.subscribe`.
        """
        outbox: Outbox = ws.outbox
        if not outbox.is_open:
            return None
        subscriber = self._subscriber(outbox, ws)
        found = self._listened(topic)
        if isinstance(found, KeyedTopic):
            if found.batch:
                subscriber.take_published()
            # It tells itself who has caught up.
            return Joined(found, self._subscribe_keyed(subscriber, found, since, 0), tells_live=True)
        view = view_of(found)
        if view.batch:
            subscriber.take_published()
        if not view.has_history:
            fan_out = self._fan_out
            assert fan_out is not None
            puller_of(fan_out)  # for when the client is slow
            subscriber.topics[view] = None
            view.subscribers[subscriber] = None
            return Joined(view, None)
        synced = self._subscribe_kept(subscriber, view, since, recent)
        if subscriber not in view.behind:
            return Joined(view, synced)
        view.joining[subscriber] = None
        return Joined(view, synced, tells_live=True)

    def _unsubscribe_view(self, ws: Any, view: Topic) -> None:
        """End what :meth:`_subscribe_view` began."""
        subscriber: Any = ws.outbox.subscriptions
        if subscriber is not None:
            self._leave(subscriber, view)

    async def _publish_noted(
        self, topic: str, message: Any, key: str | None, note: bytes, once: str | None
    ) -> Published | None:
        """Publish what a client has sent; return where it is, None where the topic has no positions.

        ``message`` may be ``REMOVAL``. Raises as :meth:`fastws.Hub.publish_confirmed`.
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
            published: Published = self._confirm(numbered, message, key, once, note)
            return published
        if once is not None:
            raise ValueError(f"once is for a topic that keeps messages, which {topic!r} does not")
        self._offer(topic, message, key, None, note)
        return None

    def _offer(self, topic: str, message: Any, key: str | None, exclude: Any, note: bytes) -> int:
        """Publish a message, with its note where it has one; see :meth:`fastws.Hub.publish`."""
        found = self._find(topic)
        if self._sequencer is not None and (found is None or found.sequenced):
            numbered = self._numbered(topic)
            if numbered is not None:
                return self._publish_numbered(numbered, message, key, exclude, note)
        if key is not None:
            raise self._not_keyed(topic)
        if not isinstance(message, str):
            message = self._checked(found, topic, message)
        if found is None or not found.subscribers:
            if self._link is not None or found is not None:
                return self._publish_unheard(found, topic, message, note)
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
        if found.view is not None:
            found.view.offer(note + plain if note else plain, fan_out)
            count += found.view.listeners()
        return count

    def _publish_as(self, topic: str, message: str | bytes, note: bytes) -> None:
        """Publish what another thread has given."""
        self._offer(topic, message, None, None, note)

    def _publish_unheard(self, found: Topic | None, topic: str, message: str | bytes, note: bytes) -> int:
        """Publish to a topic that only other processes and feeds listen to, if anybody."""
        view = None if found is None else found.view
        if view is None and self._link is None:
            return 0
        kept = note + encode(TEXT if isinstance(message, str) else BINARY, message)
        if self._link is not None:
            self._link.forward(topic, kept)
        if view is None:
            return 0
        if not view.batch:
            self._check_thread()
        view.offer(kept, self._fan_out)
        listeners: int = view.listeners()
        return listeners

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
        elif self._link is not None and not (
            found.sequenced or found.batch or found.subscribers or found.view
        ):
            self._link.follow(topic)
        return found

    def _leave(self, subscriber: Any, found: Topic) -> None:
        """Let a client listen to a topic no more."""
        if found.batch and subscriber in found.subscribers:
            subscriber.take_published()
        if subscriber in found.subscribers:
            found.remove(subscriber)
            subscriber.topics.pop(found, None)
        elif isinstance(found, NumberedTopic) and subscriber in found.behind:
            subscriber.cursors.drop(found)

    def _bind(self, fan_out: FanOut) -> None:
        if self._fan_out is not None and any(
            topic.subscribers or topic.view for topic in self._topics.values()
        ):
            raise RuntimeError("a hub belongs to one event loop; use publish_threadsafe from another")
        if self._link is not None:
            self._link.bus.check_thread()
        self._fan_out = fan_out
        self._loop = asyncio.get_running_loop()
