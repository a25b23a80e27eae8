"""Redis as a broker: PUBLISH for plain topics, a script over a stream and a hash for those with positions.

There are two connections to each server (to one, or to the masters of a cluster): one for commands, which are
sent together at the end of a turn and answered in their order, and one that hears channels. When one is lost
all are opened again. What was not answered is sent again; receivers and the scripts know what they have seen
before.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    ONCE_SECONDS,
    Append,
    Appended,
    BrokerRefused,
    BrokerTopic,
    Kept,
    Sink,
    State,
    TopicKind,
)
from fastws.pubsub.brokers.outbox import SETTLE_SECONDS, Outbox
from fastws.pubsub.brokers.redacting import redacted
from fastws.pubsub.brokers.redis_answers import (
    appended_of_answer,
    arguments_of,
    differ,
    entries_of,
    kept_of_answer,
    settle,
)
from fastws.pubsub.brokers.redis_calls import Call
from fastws.pubsub.brokers.redis_connecting import Connected, Connecting
from fastws.pubsub.brokers.redis_line import Command
from fastws.pubsub.brokers.redis_places import place_at
from fastws.pubsub.brokers.redis_scripts import (
    APPEND_HISTORY,
    APPEND_KEYED,
    DECLARE,
    READ,
    keys_of,
    plain_channel,
    topic_channel,
)
from fastws.pubsub.brokers.redis_server import refused
from fastws.pubsub.events import Position

__all__ = ["RedisBroker"]

log = logging.getLogger("fastws.error")

#: Redis takes 512 MiB; the bus of a node has 64 MiB for a record.
MAX_BYTES = 32 * 1024 * 1024
#: Milliseconds for which the settings of others hold, and for which what nobody uses is known.
DECLARED_MS = 15_000
UNUSED_MS = 7 * 24 * 3600 * 1000
MAX_SECONDS = 1e9
#: After connections that have lasted for less, so long a pause.
SHORT_SECONDS, PAUSE_SECONDS = 1.0, 0.2
#: Seconds that a last turn may take, and between two looks.
CLOSE_SECONDS, LOOK_SECONDS = 1.0, 0.005
#: So many commands whose blobs were dropped may stay where they are.
FEW_VOIDS = 1000
#: Of so many topics the log is told that their messages are refused.
MOST_REFUSALS = 1000


class RedisBroker:
    """A server, whoever sentinels say, or the masters of a cluster.

    Args:
        url: As :mod:`fastws.pubsub.brokers.redis_places` has them.

    Raises:
        ValueError: It is none.
    """

    def __init__(self, url: str) -> None:
        self.label = redacted(url)
        self.max_bytes = MAX_BYTES
        place = place_at(url)
        self._database = place.database
        self._connecting = Connecting(place, self.label, heard=self._heard, lost=self._lost)
        self._sink: Sink | None = None
        self._loop: asyncio.AbstractEventLoop
        self._node = secrets.token_hex(8)
        self._connected: Connected | None = None
        self._outbox = Outbox(self._dropped)
        #: What waits for a connection; and how many of these may wait for nothing.
        self._waiting: list[Command] = []
        #: After an outage: sends what was published, which has to wait a little longer.
        self._settling: asyncio.TimerHandle | None = None
        self._voids = 0
        #: The channels that are heard: the topic of each, and whether that is a plain one.
        self._channels: dict[str, tuple[str, bool]] = {}
        self._returning: asyncio.Task[None] | None = None
        #: What was said of the server's policy where it is full.
        self._eviction = ""
        self._came_back = asyncio.Event()
        #: Why messages of plain topics were refused, by the topic's name: the log is told once.
        self._refusals: dict[str, str] = {}

    # -- the connections ------------------------------------------------------------------------

    async def start(self, sink: Sink, timeout: float) -> None:
        """Connect. Raises :class:`BrokerUnavailable`."""
        self._loop = asyncio.get_running_loop()
        self._came_back = asyncio.Event()
        try:
            connected = await asyncio.wait_for(self._connecting.connect(), timeout)
        except TimeoutError:
            raise BrokerUnavailable(f"{self.label}: no answer within {timeout:g} s") from None
        self._sink = sink
        try:
            await self._use(connected)
        except BaseException:
            self._sink = None
            await connected.close()
            raise

    async def _use(self, connected: Connected) -> None:
        """Go on with new connections: hear again, and send what waits."""
        heard: set[str] = set()
        while missing := [channel for channel in self._channels if channel not in heard]:
            for channel, error in (await connected.hear(missing)).items():
                self._not_heard(channel, error)
            heard.update(missing)
        if connected.reason:
            raise BrokerUnavailable(connected.reason)
        self._connected = connected
        if self._returning is not None:
            self._settling = self._loop.call_later(SETTLE_SECONDS, self._settled)
        self._came_back.set()
        # What is kept is read before what waits is appended: where data is gone the positions of those who
        # know more would be given a second time.
        if self._sink is not None:
            self._sink.state(State.READY)
        self._send_waiting()

    def _settled(self) -> None:
        """All other nodes should hear again, and have read what is kept."""
        self._settling = None
        self._send_waiting()

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            self._send(command)

    def _lost(self, connected: Connected, reason: str) -> None:
        """A connection is gone, or does not answer."""
        if connected is not self._connected or self._sink is None:
            return
        self._connected = None
        self._came_back.clear()
        self._stop_settling()
        error = BrokerUnavailable(f"{self.label} is away: {reason}")
        left = connected.left_over()
        self._waiting[:0] = [each for each in left if each.is_repeated and not each.is_void]
        self._sink.state(State.AWAY, reason)
        for command in left:
            if not command.is_repeated:
                command.done(error)
        self._returning = self._loop.create_task(self._return(connected))

    async def _return(self, before: Connected) -> None:
        await before.close()
        if self._loop.time() - before.since < SHORT_SECONDS:  # a slot moves, or it lets us go at once
            await asyncio.sleep(PAUSE_SECONDS)
        async for connected in self._connecting.again(self._say):
            try:
                await self._use(connected)
            except BrokerUnavailable as error:
                self._say(str(error))
                await connected.close()
            except asyncio.CancelledError:
                await connected.close()
                raise
            else:
                return

    def _say(self, reason: str) -> None:
        if self._sink is not None:
            self._sink.state(State.AWAY, reason)

    async def close(self) -> None:
        """Hand over what waits, for a second at most, and disconnect."""
        if self._sink is None:
            return
        for _ in range(int(CLOSE_SECONDS / LOOK_SECONDS)):
            if self._connected is None or (self._connected.is_idle and not self._waiting):
                break
            await asyncio.sleep(LOOK_SECONDS)
        self._sink = None
        self._stop_settling()
        if self._returning is not None:
            self._returning.cancel()
        connected, self._connected = self._connected, None
        left, self._waiting = self._waiting, []
        if connected is not None:
            left += connected.left_over()
            connected.fail(BrokerUnavailable(f"{self.label} is closed"))
            await connected.close()
        self._outbox.end(self.label)  # before commands end, which takes their blobs out
        for command in left:
            command.done(asyncio.CancelledError())

    # -- plain topics ---------------------------------------------------------------------------

    def publish(self, name: str, blob: bytes) -> None:
        """Publish a blob."""
        one = self._outbox.add(name, blob)

        def done(answer: Any) -> None:
            if isinstance(answer, Exception):
                self._refused(name, answer)
            elif self._refusals:
                self._refusals.pop(name, None)
            self._outbox.taken(one)

        channel = plain_channel(name, self._database)
        self._send(Command(channel, (), done, is_repeated=True, waiting=one))

    def _refused(self, name: str, error: Exception) -> None:
        reason = str(refused(error))
        if self._refusals.get(name) != reason and len(self._refusals) < MOST_REFUSALS:
            self._refusals[name] = reason
            log.error("broker %s: messages to %s are refused: %s", self.label, name, reason)
        self._dropped(name)

    def _dropped(self, name: str) -> None:
        self._voids += 1
        if self._voids > max(len(self._waiting) // 2, FEW_VOIDS):
            self._voids = 0
            self._waiting = [command for command in self._waiting if not command.is_void]
        if self._sink is not None:
            self._sink.dropped(name)

    def follow(self, name: str) -> None:
        """Hear a plain topic."""
        channel = plain_channel(name, self._database)
        if channel not in self._channels:
            self._channels[channel] = name, True
            if self._connected is not None:
                (heard,) = self._connected.subscribe(channel)
                heard.add_done_callback(partial(_look_at, partial(self._not_heard, channel)))

    def unfollow(self, name: str) -> None:
        """Hear it no more."""
        self._forget(plain_channel(name, self._database))

    def _not_heard(self, channel: str, error: BrokerRefused) -> None:
        """This user may not hear a channel."""
        name, _ = self._channels.pop(channel, ("", True))
        if name and self._sink is not None:
            self._sink.refused(name, str(error))

    def _forget(self, channel: str) -> None:
        if channel in self._channels:
            del self._channels[channel]
            if self._connected is not None:
                self._connected.unsubscribe(channel)

    def _heard(self, channel: str, data: bytes) -> None:
        name, is_plain = self._channels.get(channel, ("", True))
        if self._sink is None or not name:
            return
        if is_plain:
            self._sink.deliver(name, data)
            return
        try:
            epoch, entries = entries_of(data)
        except ValueError as error:
            log.error("broker %s: topic %s holds what is no message: %s", self.label, name, error)
            return
        self._sink.appended(name, epoch, entries)

    # -- topics with a history or keys ----------------------------------------------------------

    async def declare(self, topic: BrokerTopic) -> str:
        """Declare a topic's settings. As :meth:`fastws.pubsub.brokers.base.Broker.declare`."""
        settings = topic.digest, topic.settings, topic.kind, self._node, "0", DECLARED_MS, UNUSED_MS
        answer = await self._ask(Call(DECLARE, keys_of(topic.name), *settings))
        if answer[0] == b"differ":
            raise differ(topic, answer)
        connected = self._connected
        if connected is not None and connected.eviction not in ("", self._eviction):
            self._eviction = connected.eviction
            log.warning(
                "broker %s: its maxmemory-policy is %s: what it evicts is lost, and told; set noeviction",
                self.label,
                self._eviction,
            )
        return str(answer[1], "ascii")

    def append(self, topic: BrokerTopic, run: Append) -> asyncio.Future[Appended]:
        """Give items their offsets."""
        future: asyncio.Future[Appended] = self._loop.create_future()
        once = () if run.once is None else (f"o:{run.once}",)
        call = (_append_call if once else _append)(topic, self._database, *once)
        done = partial(settle, future, partial(appended_of_answer, topic))
        self._run(call, arguments_of(topic, run), done, is_repeated=True)
        return future

    async def watch(self, topic: BrokerTopic) -> None:
        """Hear what is new in a topic; return when it is heard. Raises :class:`BrokerRefused`."""
        channel = topic_channel(topic.name, self._database)
        self._channels[channel] = topic.name, False
        while True:
            connected = self._connected
            if connected is None:
                await self._came_back.wait()
                return  # what is among the channels is heard then
            try:
                await asyncio.gather(*connected.subscribe(channel))
            except BrokerRefused:
                self._channels.pop(channel, None)
                raise
            except BrokerUnavailable:
                continue
            return

    def unwatch(self, name: str) -> None:
        """Hear nothing more of it."""
        self._forget(topic_channel(name, self._database))

    def read(self, topic: BrokerTopic, since: Position | None) -> Awaitable[Kept]:
        """Return what is kept behind a position. Raises :class:`BrokerUnavailable`."""
        epoch, offset = ("", 0) if since is None else (since.epoch, since.offset)
        most_bytes = MAX_BYTES if not topic.history else topic.history_bytes
        arguments = (epoch, offset, topic.kind, topic.history, most_bytes, _milliseconds(topic.ttl))
        return _kept(self._ask(Call(READ, keys_of(topic.name), *arguments)), topic)

    # -- commands -------------------------------------------------------------------------------

    def _send(self, command: Command) -> None:
        if self._connected is None or (command.is_repeated and self._settling is not None):
            self._waiting.append(command)
        else:
            self._connected.send(command)

    def _stop_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _ask(self, call: Call) -> asyncio.Future[Any]:
        """Run a script now, or not at all."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._connected is None:
            future.set_exception(BrokerUnavailable(f"{self.label} is away"))
        else:
            self._run(call, (), partial(settle, future, lambda answer: answer))
        return future

    def _run(
        self,
        call: Call,
        arguments: tuple[Any, ...],
        done: Callable[[Any], None],
        *,
        is_repeated: bool = False,
    ) -> None:
        self._send(Command(call.keys[0], arguments, done, is_repeated=is_repeated, call=call))


def _append_call(topic: BrokerTopic, database: int, *more: str) -> Call:
    """Return what appends to a topic; ``more``: the end of the key of a message that is published once."""
    script = APPEND_HISTORY if topic.kind is TopicKind.HISTORY else APPEND_KEYED
    channel, most = topic_channel(topic.name, database), topic.history or topic.max_keys
    settings = topic.digest, most, _milliseconds(topic.ttl), channel, ONCE_SECONDS * 1000
    return Call(script, keys_of(topic.name, *more), *settings)


#: The same for all other messages of a topic.
_append = lru_cache(maxsize=256)(_append_call)


async def _kept(asked: asyncio.Future[Any], topic: BrokerTopic) -> Kept:
    return kept_of_answer(await asked, topic)


def _look_at(refused: Callable[[BrokerRefused], None], heard: asyncio.Future[None]) -> None:
    """Tell it where a channel may not be heard."""
    error = None if heard.cancelled() else heard.exception()
    if isinstance(error, BrokerRefused):
        refused(error)


def _milliseconds(seconds: float) -> int:
    """Return seconds as Redis takes them for a time to live."""
    return max(int(min(seconds, MAX_SECONDS) * 1000), 1)
