"""A node's connection to NATS: plain topics over its core, topics with a history or keys over JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    Append,
    Appended,
    BrokerTopic,
    Kept,
    Sink,
    State,
    TopicKind,
)
from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.confirming import Confirming
from fastws.pubsub.brokers.nats.declaring import Declarations
from fastws.pubsub.brokers.nats.failures import LineLost
from fastws.pubsub.brokers.nats.history import HistoryTopic
from fastws.pubsub.brokers.nats.keys import KeyedTopic
from fastws.pubsub.brokers.nats.line import Line
from fastws.pubsub.brokers.nats.streams import OTHER_BYTES, Stream
from fastws.pubsub.brokers.nats.topic import NatsTopic
from fastws.pubsub.brokers.nats.url import Servers
from fastws.pubsub.brokers.outbox import SETTLE_SECONDS, Outbox, Waiting
from fastws.pubsub.events import Position

__all__ = ["NatsBroker"]

log = logging.getLogger("fastws.error")

#: Seconds between two attempts to connect, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.25
#: Seconds that one server has to answer, and that what waits has at the end.
CONNECT_SECONDS, CLOSE_SECONDS = 2.0, 1.0


async def connect_to_any(servers: Servers, timeout: float) -> Line:
    """Connect to the first that answers. Raises :class:`BrokerUnavailable`."""
    reasons = []
    for server in servers.all:
        try:
            return await Line.open(servers, server, min(CONNECT_SECONDS, timeout))
        except BrokerUnavailable as error:
            reasons.append(str(error))
    raise BrokerUnavailable("; ".join(reasons))


async def connect_again(servers: Servers, away: Callable[[str], None]) -> Line:
    """Connect, as soon as there is one; ``away`` is told why there is none, each reason once."""
    pause, said = FIRST_PAUSE, ""
    while True:
        try:
            return await connect_to_any(servers, CONNECT_SECONDS)
        except BrokerUnavailable as error:
            if str(error) != said:
                said = str(error)
                away(said)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


class NatsBroker:
    """One node's way to NATS. Everything here runs on one loop.

    Args:
        url: As :class:`fastws.pubsub.brokers.nats.url.Servers` has it.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(self, url: str) -> None:
        self._servers = servers = Servers(url)
        self.label = servers.label
        self.max_bytes = 1024 * 1024 - OTHER_BYTES
        self._sink: Sink
        self._line: Line | None = None
        self._is_ready = asyncio.Event()
        self._was_ready = False
        self._run: asyncio.Task[None] | None = None
        self._outbox = Outbox(self._dropped)
        #: Blobs that were not sent over this line; and whether they may be, which after an outage is later.
        self._unsent: deque[Waiting] = deque()
        self._may_send = asyncio.Event()
        self._confirming: Confirming
        #: There is something to send.
        self._news = asyncio.Event()
        #: Subjects that are heard, with what takes their messages, and how they are left.
        self._heard: dict[str, Callable[[Message], None]] = {}
        self._subscriptions: dict[str, Any] = {}
        self._changes: deque[str] = deque()
        prefix = servers.prefix
        self._plain = f"{prefix}.p"
        self._histories = Stream(prefix, "h", TopicKind.HISTORY, servers.replicas)
        self._keys = Stream(prefix, "k", TopicKind.KEYED, servers.replicas)
        self._declarations = Declarations(self._keys)
        self._topics: dict[str, NatsTopic] = {}

    # -- the connection -------------------------------------------------------------------------

    async def start(self, sink: Sink, timeout: float) -> None:
        """Connect, and say that it is ready. Raises :class:`BrokerUnavailable`."""
        self._sink = sink
        try:
            line = await asyncio.wait_for(connect_to_any(self._servers, timeout), timeout)
        except TimeoutError:
            raise BrokerUnavailable(f"{self.label} does not answer within {timeout:g} s") from None
        self.max_bytes = line.max_payload - OTHER_BYTES
        self._run = asyncio.get_running_loop().create_task(self._keep_connected(line))
        ready = asyncio.ensure_future(self._is_ready.wait())
        await asyncio.wait((ready, line.lost), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._is_ready.is_set():
            run, self._run = self._run, None
            await run  # it has let go of the line; what waits goes on waiting
            await line.close()
            raise BrokerUnavailable(f"{self.label}: {line.lost.result()}")

    async def _keep_connected(self, line: Line) -> None:
        while True:
            try:
                await self._use(line)
                reason = await line.lost
            except LineLost:
                reason = await line.lost
            except Exception:
                log.exception("broker %s: the connection cannot be used", self.label)
                reason = "what it says makes no sense"
                line.abort(reason)
            self._forget_line()
            if not self._was_ready:
                return  # start() raises
            self._sink.state(State.AWAY, reason)
            line = await connect_again(self._servers, partial(self._sink.state, State.AWAY))

    async def _use(self, line: Line) -> None:
        """Hear and send over a line until it ends."""
        self._line = line
        self._subscriptions.clear()
        for stream in (self._histories, self._keys):
            stream.use(line)
        for subject in list(self._heard):
            await self._subscribe(line, subject)
        await line.flush()
        self._unsent = deque(self._outbox)
        self._confirming = Confirming(self._outbox)
        loop = asyncio.get_running_loop()
        opening = loop.call_later(SETTLE_SECONDS if self._was_ready else 0, self._open)
        self._is_ready.set()
        self._was_ready = True
        self._sink.state(State.READY)
        writer = loop.create_task(self._write(line))
        try:
            await self._confirming.run(line)
        finally:
            opening.cancel()
            writer.cancel()

    def _open(self) -> None:
        """Send from now on what is published."""
        self._may_send.set()
        self._news.set()

    def _forget_line(self) -> None:
        self._is_ready.clear()
        self._may_send.clear()
        self._line = None
        self._subscriptions.clear()
        for stream in (self._histories, self._keys):
            stream.use(None)
        for topic in self._topics.values():
            topic.interrupt()

    async def _write(self, line: Line) -> None:
        """Send what is published and followed, in the order of the calls."""
        with contextlib.suppress(LineLost):
            while True:
                self._news.clear()
                while self._changes:
                    await self._change(line, self._changes.popleft())
                while self._unsent and self._may_send.is_set():
                    one = self._unsent.popleft()
                    if not one.is_dropped:
                        await line.send(f"{self._plain}.{one.name}", one.blob)
                        self._confirming.note(one)
                if not self._changes:
                    await self._news.wait()

    async def close(self) -> None:
        """Hand over what waits, for a second at most, and disconnect."""
        run, self._run = self._run, None
        if run is None:
            return
        for _ in range(100):
            if self._line is None or not (self._outbox or self._has_waiting()):
                break
            await asyncio.sleep(CLOSE_SECONDS / 100)
        run.cancel()
        for topic in self._topics.values():
            topic.close()
        line = self._line
        with contextlib.suppress(asyncio.CancelledError):
            await run
        self._forget_line()
        if line is not None:
            await line.close()
        self._outbox.end(self.label)

    def _dropped(self, name: str) -> None:
        if self._was_ready:
            self._sink.dropped(name)

    def _has_waiting(self) -> bool:
        return any(not topic.is_idle for topic in self._topics.values())

    # -- plain topics ---------------------------------------------------------------------------

    def publish(self, name: str, blob: bytes) -> None:
        """Send a blob, now or when the broker is back."""
        one = self._outbox.add(name, blob)
        line = self._line
        if line is None:
            return
        is_next = self._may_send.is_set() and not self._unsent and not self._changes
        if is_next and line.post(f"{self._plain}.{name}", blob):
            self._confirming.note(one)
            return
        self._unsent.append(one)
        self._news.set()

    def follow(self, name: str) -> None:
        """Hear a plain topic."""

        def deliver(message: Message) -> None:
            self._sink.deliver(name, message.data)

        self._hear(f"{self._plain}.{name}", deliver)

    def unfollow(self, name: str) -> None:
        """Hear it no more."""
        self._leave(f"{self._plain}.{name}")

    def _hear(self, subject: str, heard: Callable[[Message], None]) -> None:
        if subject not in self._heard:
            self._heard[subject] = heard
            self._changes.append(subject)
            self._news.set()

    def _leave(self, subject: str) -> None:
        if self._heard.pop(subject, None) is not None:
            self._changes.append(subject)
            self._news.set()

    def _refused(self, subject: str, reason: str) -> None:
        """This user may not hear a topic. Of one with a history or keys :meth:`watch` tells it."""
        self._leave(subject)
        if subject.startswith(f"{self._plain}."):
            self._sink.refused(subject.removeprefix(f"{self._plain}."), reason)

    async def _change(self, line: Line, subject: str) -> None:
        """Follow, or leave, as it is wished now."""
        if subject in self._heard:
            await self._subscribe(line, subject)
        elif (subscription := self._subscriptions.pop(subject, None)) is not None:
            await line.leave(subscription)

    async def _subscribe(self, line: Line, subject: str) -> None:
        if subject in self._subscriptions:
            return
        self._subscriptions[subject] = None  # it is under way
        subscription = await line.subscribe(subject, self._heard[subject], partial(self._refused, subject))
        if line is self._line:
            self._subscriptions[subject] = subscription
        if subject not in self._heard:
            self._changes.append(subject)
            self._news.set()

    # -- topics with a history or keys ----------------------------------------------------------

    async def declare(self, topic: BrokerTopic) -> str | None:
        """Say that this node uses a topic, with these settings; return its epoch as far as it was looked at.

        Raises:
            BrokerRefused: Another node uses it with other settings, or it cannot be.
            BrokerUnavailable: The broker is away.
        """
        self._check_ready()
        known = self._of(topic)
        if not await self._declarations.declare(topic):
            return None
        if isinstance(known, KeyedTopic):
            await known.forget_removals()
        try:
            return await known.epoch_there()
        except BrokerUnavailable:
            return None  # that is asked again, and the settings hold

    def append(self, topic: BrokerTopic, run: Append) -> asyncio.Future[Appended]:
        """Give items their offsets, behind those of earlier calls, now or when the broker is back."""
        return self._of(topic).append(run)

    async def watch(self, topic: BrokerTopic) -> None:
        """Hear what is new; return when all that is appended from now on is told."""
        known = self._of(topic)
        while True:
            await self._is_ready.wait()
            known.is_watched = True
            with contextlib.suppress(LineLost):
                await self._listen(known)
                await known.prepare()
                return

    def unwatch(self, name: str) -> None:
        """Hear nothing more of it."""
        known = self._topics.get(name)
        if known is None:
            return
        known.is_watched = False
        known.forget()
        self._leave(known.said)
        if known.is_idle:
            del self._topics[name]

    def read(self, topic: BrokerTopic, since: Position | None) -> Awaitable[Kept]:
        """Return what is kept behind a position, and behind what was appended by calls before.

        Raises:
            BrokerUnavailable: When it is awaited: the broker is away, or has refused it.
        """
        if not self._is_ready.is_set():
            return _away(self.label)
        return self._of(topic).read(since)

    def _check_ready(self) -> None:
        if not self._is_ready.is_set():
            raise BrokerUnavailable(f"{self.label} is away")

    def _of(self, topic: BrokerTopic) -> NatsTopic:
        known = self._topics.get(topic.name)
        if known is not None and known.topic.kind is topic.kind:
            known.topic = topic
            return known
        make, stream = (
            (HistoryTopic, self._histories) if topic.kind is TopicKind.HISTORY else (KeyedTopic, self._keys)
        )
        events = self._is_ready, self._may_send
        found: NatsTopic = make(topic, stream, self._sink, *events, lambda: self._listen(found))
        self._topics[topic.name] = found
        return found

    async def _listen(self, known: NatsTopic) -> None:
        """Hear a topic from now on. Raises :class:`LineLost`, and ``BrokerRefused`` where it may not."""
        subject = known.said
        line = self._line
        if line is None:
            raise LineLost(f"{self.label} is away")
        if subject not in self._heard:
            self._heard[subject] = known.hear
            await self._subscribe(line, subject)
        await line.flush()
        line.check_allowed(subject)


async def _away(label: str) -> Kept:
    raise BrokerUnavailable(f"{label} is away")
