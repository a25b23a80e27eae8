# cython: annotation_typing=False
"""Publish and subscribe: a message is encoded once, and joined once for each topic and turn.

A hub finds the topic of a name and hands over what is published to it. Order, and who shares which bytes,
is the fan-out's part (``fanout.py``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from fastws.config import UNSET, Compression, SlowConsumerPolicy, Unset
from fastws.connection.publication import Publication
from fastws.protocol.websocket.frames import FIN, Opcode
from fastws.pubsub.bus.records import split_frames
from fastws.pubsub.bus.registry import group_of
from fastws.pubsub.events import Gap, Member, Position, Synced
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub_history import position_of
from fastws.pubsub.hub_keyed import message_of
from fastws.pubsub.hub_shared import HubShared
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.notes import JSON_NOTE, frame_of
from fastws.pubsub.numbered import NumberedTopic, tell_gap
from fastws.pubsub.pace import checked_rate
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.topic import Topic
from fastws.pubsub.wishes import recent_asked

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.pubsub.brokers.base import Broker

__all__ = ["Hub", "Topic"]

TEXT = int(Opcode.TEXT)
#: The first byte of a frame with a whole text message (RFC 6455, section 5.2).
TEXT_FRAME = FIN | TEXT

log = logging.getLogger("fastws.error")


class Hub(HubShared):
    """Topics of one event loop, to which every method belongs, except :meth:`publish_threadsafe`.

    A WebSocket leaves every topic by itself when its close begins.

    Args:
        name: What hubs of other processes are called that share what is published. Each hub of a process
            that shares has its own; where nothing is shared, any number may have the same. Default:
            ``"default"``.
        broker: ``"redis://..."`` or ``"nats://..."`` shares with all machines that name the same server,
            ``"bus:/PATH"`` with all processes of this user that name the same directory, which is made where
            it is missing; ``"memory"`` shares nothing. Default None: that of ``fastws serve --broker``,
            ``FASTWS_BROKER`` or ``FASTWS_BROKER_FILE``; else workers of one ``fastws serve`` share.
        policy: What becomes of a client whose send queue is over its limit. Default: it is evicted with 1008
            (RFC 6455, section 7.4.1). A topic may have its own.
        compression: From which size on, and how hard, a message is compressed, once for all clients that
            negotiated permessage-deflate without context takeover (RFC 7692, section 7.1.1). Default: the
            defaults of :class:`fastws.Compression`.

    Raises:
        ValueError: ``policy`` is no policy, ``broker`` no broker, or another hub of this process shares under
            that name.
        TypeError: ``compression`` is no :class:`fastws.Compression`.
        ImportError: What the broker needs is not installed; the text says how to get it.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        broker: str | Broker | None = None,
        policy: SlowConsumerPolicy | str = SlowConsumerPolicy.EVICT,
        compression: Compression | None = None,
    ) -> None:
        HubShared.__init__(self, name, broker, policy, compression)
        #: The bus that :meth:`close` has left.
        self._left: Any = None

    def subscribe(
        self,
        ws: Any,
        topic: str,
        *,
        since: Position | str | None = None,
        recent: int | None = None,
        present: str | Member | None = None,
        max_rate: float | None = None,
        policy: SlowConsumerPolicy | str | None = None,
    ) -> Synced | None:
        """Let ``ws`` receive what is published to ``topic`` from now on. Twice does no harm.

        Does nothing when ``ws`` is already closing. Of a topic with a history it may receive what was
        published before, too. That leaves in later turns of the loop, as fast as the socket takes it: behind
        what the application sends to ``ws`` in this turn, and before the topic's next message. Nothing is
        left out in between, and nothing comes twice.

        Args:
            ws: A :class:`fastws.WebSocket`, or what :func:`fastws.subscriber` made of another framework's.
            topic: Any name; a topic that was not declared is made, and lasts as long as somebody listens.
            since: Begin behind this position, or its text: where this client was before. What is not kept
                any more is left out; the return value tells. Default None: begin now, a keyed topic with a
                snapshot of all its keys.
            recent: Of a topic with a history, begin with the last so many messages, as far as they are kept:
                for who was not here before, and where ``since`` cannot be continued at all. Default: as
                many as :meth:`topic` says.
            present: Who ``ws`` is shown as, where the topic has a ``presence``: a name, or a
                :class:`fastws.Member`. Connections of one name are one member. Default None: not shown.
            max_rate: How many messages it is sent in any second at most, evenly spread: of a keyed topic all
                that has changed since, of any other the newest one, and ``Handler.on_gap`` is told, once a
                second, how many were left out (``"sampled"``). The last one comes at most ``1 / max_rate``
                seconds late. A topic's own ``max_rate`` may be less. Default None: as many as there are.
            policy: What becomes of ``ws`` where it is too slow. Default None: as before, or the topic's.

        Returns:
            Where the subscription begins, and what it has missed. None for a topic without positions, for a
            ``ws`` that is closing, and where workers share the hub and what the topic keeps is not here yet.
            Then ``Handler.on_sync`` is told, before the first message.

        Raises:
            TypeError: ``ws`` is neither, ``since`` no position or text, ``recent`` no integer,
                ``max_rate`` no number, or ``present`` no name and no member.
            ValueError: ``since`` is no position, or it or ``recent`` was given for a topic without positions,
                or for one that ``ws`` listens to already; ``recent`` was given for a keyed topic;
                ``max_rate`` is 0 or less, or ``ws`` listens already without one; the topic has positions and
                a bad name, or cannot have that ``policy``; ``present`` is too long, or it shows nobody.
            RuntimeError: ``ws`` belongs to another event loop than the hub's earlier subscribers.
        """
        try:
            outbox: Outbox = ws.outbox
        except AttributeError:
            what = type(ws).__name__
            raise TypeError(f"a hub takes a fastws.WebSocket or fastws.subscriber(ws), not {what}") from None
        if present is not None or policy is not None:
            return self._subscribe_as(ws, topic, present, policy, since, recent, max_rate)
        start = None if since is None else position_of(since)
        wanted = recent_asked(recent)
        rate = checked_rate("max_rate", max_rate)
        if (start is not None or wanted > 0) and self._numbered(topic) is None:
            raise self._no_history(topic)
        if not outbox.is_open:
            return None
        subscriber = self._subscriber(outbox, ws)
        found = self._listened(topic)
        if rate is not None or found.gate is not None:
            rate = self._joins(subscriber, found, rate)
        if found.batch:
            subscriber.take_published()
            if not outbox.is_open:  # what it took evicted it
                return None  # type: ignore[unreachable]
        if rate is not None:
            return self._subscribe_paced(subscriber, found, rate, start, wanted)
        if isinstance(found, SequencedTopic):
            return self._subscribe_kept(subscriber, found, start, wanted)
        if isinstance(found, KeyedTopic):
            return self._subscribe_keyed(subscriber, found, start, wanted)
        subscriber.topics[found] = None
        found.subscribers[subscriber] = None
        return None

    def unsubscribe(self, ws: Any, topic: str) -> None:
        """End what :meth:`subscribe` began.

        What was published before still arrives; of a topic with a history only where ``ws`` was not behind.
        """
        subscriber = ws.outbox.subscriptions
        found = self._find(topic)
        if found is not None:
            self._leave(subscriber, found)

    def publish(
        self,
        topic: str,
        message: str | bytes | Unset = UNSET,
        *,
        json: Any = UNSET,
        key: str | None = None,
        exclude: Any = None,
    ) -> int:
        """Offer ``message`` to every client of ``topic``. Never waits.

        The frames leave at the end of this turn of the loop, together with all else that is published in it.
        With 64 subscribers and more the turn goes on, for 5 ms at most, while looks at the sockets bring
        more to publish. A client receives in the order of the application's calls for it, over all topics.

        Args:
            topic: The topic's name.
            message: ``str`` for a text message, ``bytes`` (or what has a buffer, copied) for a binary one. Of
                a keyed topic, ``str`` with the source text of a JSON value: sent as is, repeated names too.
            json: In place of a message, a value that is sent as JSON text.
            key: Of a keyed topic, the key whose value this is now: 1 to 255 bytes of UTF-8.
            exclude: A subscriber that is not offered this message, most often the sender. Not for a topic
                with a history or keys, which are the same for all.

        Returns:
            How many clients it was offered to; of a topic with a history or keys, also those that are behind.

        Raises:
            TypeError: ``message`` is neither text nor bytes, or is bytes on a topic that merges or is keyed;
                both ``message`` and ``json`` were given, or none; ``json`` cannot be JSON; ``exclude`` was
                given for a topic with a history or keys, or a keyed one was given no ``key``.
            ValueError: The topic has a history or keys and a bad name; ``key`` is too long, or given to one
                not keyed; its text is no JSON, or ``json`` has a NaN or infinity; it has its ``max_keys``.
            RuntimeError: Called in another thread than that of the hub's loop; or no loop runs, and the topic
                has a history or keys.
        """
        if json is not UNSET:
            message = message_of(message, json)
            return self._offer(topic, message, key, exclude, JSON_NOTE)
        return self._offer(topic, message, key, exclude, b"")

    def publish_threadsafe(
        self,
        topic: str,
        message: str | bytes | Unset = UNSET,
        *,
        json: Any = UNSET,
        key: str | None = None,
    ) -> None:
        """Publish from any thread; the message goes out in a later turn of the hub's loop.

        Messages of one thread keep their order. A hub that shares what is published sends it in any case, and
        keeps it before the start. Any other has to know its loop: it was made on it, had a subscriber, or was
        started, by itself or with a server. One that has topics with a history or keys learns it when it is
        first used or started.

        Raises:
            TypeError: As :meth:`publish`.
            ValueError: As :meth:`publish`; but one key too many is told in the log.
            RuntimeError: The hub does not know its loop yet: ``async with hub``; or its loop is closed.
        """
        note = b"" if json is UNSET else JSON_NOTE
        message = message_of(message, json)
        self._check_kept(topic)
        if key is not None or self._is_keyed(topic):
            self._publish_keyed_threadsafe(topic, message, key)
            return
        if not isinstance(message, str):
            message = self._checked(None, topic, message)
        if self._link is not None and not self._link.bus.is_closed:
            self._link.call_threadsafe(self._publish_as, topic, message, note)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._publish_as, topic, message, note)
        elif self._sequencer is not None or self._home is None or self._home.is_closed():
            raise self._no_loop()  # else nobody has ever listened, as its loop would find

    async def start(self, timeout: float = 10.0) -> None:
        """Join the processes that share this hub. Without it the first use does, in the background.

        Does nothing more where the hub shares nothing, or has joined already. Topics with a history belong
        to the loop that runs from now on.

        Raises:
            BrokerUnavailable: It cannot be done, or not within ``timeout`` seconds (default: 10).
        """
        if self._left is not None:
            self._link, self._left = self._left.join(self, self.name), None
            self._share_presence(self._link)
        if self._sequencer is not None:
            self._sequencer.open()
            self._enter()
        self._home = asyncio.get_running_loop()
        group = None if self._link is None else group_of(self._link.bus)
        if group is not None:
            await group.start(timeout)
        elif self._link is not None and self._sequencer is not None:
            await self._link.bus.keeper.wait(timeout)

    async def close(self) -> None:
        """Share no more, and end what follows. What topics collect leaves now. What they keep in this process
        stays; where workers share the hub, nobody numbers what is published now, and :meth:`publish` raises
        ``RuntimeError``.

        The bus at a path ends with the last hub of this process that uses it.
        """
        self._tickers.release()
        if self._sequencer is not None:
            self._sequencer.close()
            self._entered = None
        self._share_presence(None)
        link, self._link = self._link, None
        if link is not None:
            self._left = link.bus
            link.bus.leave(self.name)
            group = group_of(link.bus)
            if group is not None and not link.bus.hubs:
                await group.close()

    async def __aenter__(self) -> Hub:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def lifespan(self, app: object) -> HubLifespan:
        """Start with an ASGI application and close with it: ``FastAPI(lifespan=hub.lifespan)``.

        Args:
            app: The application, which is not looked at.

        Returns:
            What Starlette and FastAPI take: an asynchronous context manager, which gives nothing to the
            application's state. Entering it raises as :meth:`start`.
        """
        return HubLifespan(self)

    # -- for the bus ----------------------------------------------------------------------------

    def _receive_run(self, topic: str, body: bytes, count: int) -> None:
        """Publish here what another process has published; the clients of other processes have it already."""
        found = self._find(topic)
        if found is None or not found.is_heard():
            self._receive_inside(topic, body, count)
            return
        fan_out = self._fan_out
        assert fan_out is not None
        messages = split_frames(body, count)
        if found.gate is not None:
            messages = found.gate.received(messages)
        if found.view is not None:
            for kept in messages:
                found.view.offer(kept, fan_out)
        if not found.subscribers:
            return
        if found.merge is not None:
            texts = _only_texts(topic, messages)
            if len(texts) < len(messages):
                _tell_gap(found, len(messages) - len(texts), "binary")
            messages = texts
        for kept in messages:
            seq = fan_out.add(found)
            found.batch.append(Publication(found, seq, None, frame_of(kept)))

    def _receive_gap(self, topic: str, missed: int | None, reason: str) -> None:
        """Tell who listens that messages of another process did not come."""
        found = self._find(topic)
        if found is not None and not (missed is None and found.sequenced):  # positions tell that
            _tell_gap(found, missed, reason)
            if found.view is not None:
                found.view.offer_gap(missed, reason, self._fan_out)


class HubLifespan:
    """The time from the start of a hub to its close, as the lifespan of an application."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __aenter__(self) -> None:
        await self._hub.start()

    async def __aexit__(self, *_: object) -> None:
        await self._hub.close()


def _tell_gap(found: Topic, missed: int | None, reason: str) -> None:
    paced = found.gate.lane.cursors if found.paced() else ()
    behind = found.behind if isinstance(found, NumberedTopic) else ()
    for subscriber in [*found.subscribers, *behind, *paced]:
        tell_gap(subscriber.ws, found.name, missed, reason)
    if isinstance(found, NumberedTopic):
        for follower in found.followers:
            if isinstance(follower, Follower):
                follower.say(Gap(found.name, missed, reason))


def _only_texts(topic: str, messages: list[bytes]) -> list[bytes]:
    """Return those that are text: the other process has not declared a topic that merges as such."""
    texts = [kept for kept in messages if frame_of(kept)[0] == TEXT_FRAME]
    if len(texts) < len(messages):
        log.error("topic %r merges text: left out binary messages of another process", topic)
    return texts
