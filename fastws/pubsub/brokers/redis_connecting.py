"""The two connections to Redis that a node has: how they are opened, watched and opened again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from redis.exceptions import InvalidResponse, RedisError

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.redis_line import CommandLine, Subscriptions
from fastws.pubsub.brokers.redis_places import Place
from fastws.pubsub.brokers.redis_scripts import SCRIPTS
from fastws.pubsub.brokers.redis_server import Server, parsed_info, server_of, words_for

__all__ = ["Connected", "Connecting"]

#: Seconds of the first and the longest pause before another attempt, and that one attempt may take.
RETRY, LONGEST_RETRY = 0.05, 1.0
ATTEMPT_SECONDS = 5.0
#: Seconds between two looks at connections, and between two questions for a sign of life.
LOOK_SECONDS, PING_LOOKS = 1.0, 3


class Connected:
    """Both connections, while they last.

    Args:
        commands: For commands; it has been connected.
        subscriptions: For channels, too.
        server: What is there.
        heard: Called with a channel and what was published there.
        lost: Called once with the reason, when one of them has ended by itself.
    """

    def __init__(
        self,
        commands: Any,
        subscriptions: Any,
        server: Server,
        heard: Callable[[str, bytes], None],
        lost: Callable[[Connected, str], None],
    ) -> None:
        self.server = server
        self._lost = lost
        #: Why one has ended; "" while both last.
        self.reason = ""
        self.commands = CommandLine(commands, self._ended, server)
        self.subscriptions = Subscriptions(subscriptions, self._ended, heard)
        self._watching = asyncio.create_task(self._watch())

    def _ended(self, line: object, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self.subscriptions.fail(BrokerUnavailable(reason))
            self._lost(self, reason)

    async def _watch(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            if self.commands.is_stuck() or self.subscriptions.is_stuck():
                self._ended(self, "it gives no answer")
            elif looks % PING_LOOKS == 0:
                self.subscriptions.ping()

    async def close(self) -> None:
        """Let go of both."""
        self.reason = self.reason or "closed"
        self._watching.cancel()
        await self.commands.close()
        await self.subscriptions.close()


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
            commands = await self._open(opened)
            server = server_of(parsed_info(await _ask(commands, "INFO")), label=self._label)
            for script in SCRIPTS:
                await _ask(commands, "SCRIPT", "LOAD", script.text)
            subscriptions = await self._open(opened)
        except BaseException as error:
            for connection in opened:
                with suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            if isinstance(error, InvalidResponse):
                text = f"{self._label}: what is there does not speak Redis's protocol"
                raise BrokerUnavailable(text) from None
            if isinstance(error, (RedisError, OSError, EOFError)):
                raise BrokerUnavailable(f"{self._label}: {words_for(error)}") from None
            raise
        return Connected(commands, subscriptions, server, self._heard, self._lost)

    async def _open(self, opened: list[Any]) -> Any:
        connection: Any = await self._place.connection()
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


async def _ask(connection: Any, *arguments: str) -> Any:
    await connection.send_command(*arguments, check_health=False)
    return await connection.read_response(disconnect_on_error=False)
