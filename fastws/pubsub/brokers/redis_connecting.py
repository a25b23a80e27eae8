"""The connections to Redis that a node has: how they are opened, watched and opened again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import BrokerRefused, name_of
from fastws.pubsub.brokers.redis_line import Command, CommandLine, Subscriptions
from fastws.pubsub.brokers.redis_places import Layout, NoMaster, Place
from fastws.pubsub.brokers.redis_scripts import CHECK, SCRIPTS, keys_of, plain_channel
from fastws.pubsub.brokers.redis_server import (
    FAILURES,
    Server,
    is_forbidden,
    parsed_info,
    server_of,
    words_of_connecting,
)

__all__ = ["Connected", "Connecting"]

#: Seconds of the first and the longest pause before another attempt, and that one attempt may take.
RETRY, LONGEST_RETRY = 0.05, 0.25
ATTEMPT_SECONDS = 5.0
#: Seconds between two looks at connections, and between two questions for a sign of life.
LOOK_SECONDS, PING_LOOKS = 1.0, 3
#: No hub has this name; what a node may do is tried there.
NOBODYS = name_of("\0nodes", "rights")


class Opened(NamedTuple):
    """Two connections of redis-py to one server."""

    commands: Any
    subscriptions: Any
    server: Server


class Connected:
    """All connections, while they last: two to each server, and of servers one, or the masters of a cluster.

    Args:
        layout: Which servers there are.
        opened: The connections to each of them.
        heard: Called with a channel and what was published there.
        lost: Called once with the reason, when one of them has ended by itself.
    """

    def __init__(
        self,
        layout: Layout,
        opened: list[Opened],
        heard: Callable[[str, bytes], None],
        lost: Callable[[Connected, str], None],
    ) -> None:
        self._layout = layout
        self._lost = lost
        #: Why one has ended; "" while all last.
        self.reason = ""
        self.since = asyncio.get_running_loop().time()
        #: What servers do where they are full, other than to say so.
        self.eviction = next((one.server.eviction for one in opened if one.server.eviction), "")
        self._commands = [CommandLine(one.commands, self._ended, one.server) for one in opened]
        self._subscriptions = [
            Subscriptions(one.subscriptions, self._ended, one.server, heard) for one in opened
        ]
        self._watching = asyncio.create_task(self._watch())

    def _ended(self, line: object, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self.fail(BrokerUnavailable(reason))
            self._lost(self, reason)

    def send(self, command: Command) -> None:
        """Send a command to who has what it is about."""
        self._commands[self._layout.place_of(command.key)].send(command)

    def left_over(self) -> list[Command]:
        """Return what was not answered. Commands about the same key are in their order."""
        return [command for line in self._commands for command in line.left_over()]

    @property
    def is_idle(self) -> bool:
        """True when all commands were answered."""
        return all(line.is_idle for line in self._commands)

    def subscribe(self, *channels: str) -> list[asyncio.Future[None]]:
        """Hear channels; each future is done when one is heard, and fails where this user may not hear it."""
        return [
            future
            for channel in channels
            for future in self._subscriptions[self._layout.place_of(channel)].subscribe(channel)
        ]

    async def hear(self, channels: list[str]) -> dict[str, BrokerRefused]:
        """Hear channels; return those that this user may not hear. Raises :class:`BrokerUnavailable`."""
        answers = await asyncio.gather(*self.subscribe(*channels), return_exceptions=True)
        found: dict[str, BrokerRefused] = {}
        for channel, answer in zip(channels, answers, strict=True):
            if isinstance(answer, BrokerRefused):
                found[channel] = answer
            elif isinstance(answer, BaseException):
                raise answer
        return found

    def unsubscribe(self, channel: str) -> None:
        """Hear a channel no more."""
        self._subscriptions[self._layout.place_of(channel)].unsubscribe(channel)

    def fail(self, error: Exception) -> None:
        """Tell those who wait for channels that nothing will be heard."""
        for line in self._subscriptions:
            line.fail(error)

    def ping(self) -> None:
        """Ask for signs of life."""
        for line in self._subscriptions:
            line.ping()

    async def _watch(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            if any(line.is_stuck() for line in [*self._commands, *self._subscriptions]):
                self._ended(self, "it gives no answer")
            elif looks % PING_LOOKS == 0:
                self.ping()

    async def close(self) -> None:
        """Let go of all."""
        self.reason = self.reason or "closed"
        self._watching.cancel()
        for line in [*self._commands, *self._subscriptions]:
            await line.close()


class Connecting:
    """Opens connections.

    Args:
        place: Where the server is.
        label: How the log calls it.
        heard: As that of :class:`Connected`.
        lost: As that of :class:`Connected`.
    """

    def __init__(
        self,
        place: Place,
        label: str,
        *,
        heard: Callable[[str, bytes], None],
        lost: Callable[[Connected, str], None],
    ) -> None:
        self._place = place
        self._label = label
        self._heard = heard
        self._lost = lost

    async def connect(self) -> Connected:
        """Connect. Raises :class:`BrokerUnavailable`, which says why that cannot be."""
        opened: list[Any] = []
        try:
            layout = await self._place.layout()
            is_cluster = layout.slots is not None
            pairs = [await self._pair(place, opened, is_cluster=is_cluster) for place in layout.servers]
        except BaseException as error:
            for connection in opened:
                with suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            if isinstance(error, FAILURES):
                raise BrokerUnavailable(f"{self._label}: {self._words_for(error)}") from None
            raise
        return Connected(layout, pairs, self._heard, self._lost)

    def _words_for(self, error: Exception) -> str:
        if isinstance(error, NoMaster):
            return str(error)
        place = self._place
        return words_of_connecting(error, is_tls=place.is_tls, has_certificate=place.has_certificate)

    async def _pair(self, place: Place, opened: list[Any], *, is_cluster: bool) -> Opened:
        commands = await self._open(place, opened)
        info = parsed_info(await _ask(commands, "INFO"))
        server = server_of(info, label=self._label, is_cluster=is_cluster)
        for script in SCRIPTS:
            await _ask(commands, "SCRIPT", "LOAD", script.text)
        subscriptions = await self._open(place, opened)
        if not is_cluster:  # there it would have to be a channel of this node
            await _check_rights(commands, subscriptions)
        return Opened(commands, subscriptions, server)

    async def _open(self, place: Place, opened: list[Any]) -> Any:
        connection: Any = await place.connection()
        opened.append(connection)
        await connection.connect()
        return connection

    async def again(self, say: Callable[[str], None]) -> AsyncIterator[Connected]:
        """Yield new connections, as often as they are asked for; say why there are none yet."""
        pause = RETRY
        while True:
            try:
                connected = await asyncio.wait_for(self.connect(), ATTEMPT_SECONDS)
            except TimeoutError:
                say(f"no answer within {ATTEMPT_SECONDS:g} s")
            except BrokerUnavailable as error:
                say(str(error).removeprefix(f"{self._label}: "))
            else:
                yield connected
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_RETRY)


async def _check_rights(commands: Any, subscriptions: Any) -> None:
    """Try all that a node does. Raises :class:`redis.exceptions.NoPermissionError` where it may not."""
    channel = plain_channel(NOBODYS)
    asked = [
        (commands, ("PUBLISH", channel, "")),
        (commands, ("EVALSHA", CHECK.digest, "1", keys_of(NOBODYS)[0], channel)),
        (subscriptions, ("SUBSCRIBE", channel)),
        (subscriptions, ("UNSUBSCRIBE", channel)),
    ]
    for connection, arguments in asked:
        try:
            await _ask(connection, *arguments)
        except ResponseError as error:
            # It may be full, or busy: that is told when something cannot be done.
            if is_forbidden(error):
                raise


async def _ask(connection: Any, *arguments: str) -> Any:
    await connection.send_command(*arguments, check_health=False)
    return await connection.read_response(disconnect_on_error=False)
