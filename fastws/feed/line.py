"""A client's connection to a feed: it comes back after it was lost, and its topics go on where they were."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastws import logs
from fastws.client.connect import connect
from fastws.client.connector import end_tasks
from fastws.client.reconnect import Backoff, is_retryable, retry_after
from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosed
from fastws.feed import messages
from fastws.feed.access import FeedError
from fastws.feed.commands import Auth, Unsub
from fastws.feed.event_buffer import EventBuffer
from fastws.feed.followed import FollowedTopic, published_by
from fastws.feed.protocol import MAX_COMMANDS_PER_SECOND, Close
from fastws.loop.fatal import is_cancelled
from fastws.protocol.websocket.frames import CloseCode
from fastws.pubsub.events import Published

__all__ = ["FeedLine", "Token"]

log = logging.getLogger("fastws.feed.line")

#: A token, or what is asked for one.
Token = str | Callable[[], str | Awaitable[str | None] | None]

#: Seconds until the server has said hello, once the WebSocket is open.
HELLO_TIMEOUT = 10.0
#: Topics that are subscribed to in one second; a feed takes 50 commands, and publishing needs some.
COMMANDS_AT_ONCE = MAX_COMMANDS_PER_SECOND * 4 // 5
#: The part of a token's time after which a new one is sent.
RENEW_AFTER = 0.9
#: Close codes of the range for refusals after which another attempt may succeed.
PASSING_REFUSALS = (Close.UNAVAILABLE, Close.TOO_FAST)


class FeedLine:
    """One connection after the other to the same feed."""

    def __init__(
        self,
        make: Callable[[], connect],
        topics: Iterable[FollowedTopic],
        token: Token | None,
        backoff: Backoff,
        buffer: EventBuffer,
    ) -> None:
        self._make = make
        self._topics = {topic.name: topic for topic in topics}
        self._token = token
        self._backoff = backoff
        self._buffer = buffer
        self._commands = itertools.count(1)
        #: What was asked and not answered, by the id of the command.
        self._answers: dict[Any, asyncio.Future[Published]] = {}
        #: How many wait for an answer, or for a connection to ask on.
        self._asking = 0
        self._renewal: asyncio.Task[None] | None = None
        #: The WebSocket that is open, as soon as there is one; an exception, where there will be none.
        self._open: asyncio.Future[WebSocket] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        self._check_topics()

    async def close(self, error: Exception) -> None:
        """End all; who waits for something gets ``error``."""
        self._fail(error)
        await end_tasks({self._task}, None)

    async def ask(self, build: Callable[[int], str]) -> Published:
        """Send a command, whose text ``build`` makes with an id, and wait for its answer.

        Raises:
            FeedError: The server refuses it; ``"lost"``: the connection has ended before the answer.
        """
        self._asking += 1
        # The answer, or the end of the connection, may stand behind what waits to be taken.
        self._buffer.release()
        try:
            return await self._ask(await self._opened(), build)
        finally:
            self._asking -= 1

    async def _ask(self, ws: WebSocket, build: Callable[[int], str]) -> Published:
        command = next(self._commands)
        answer = self._answers[command] = asyncio.get_running_loop().create_future()
        try:
            await ws.send(build(command))
            published: Published = await answer
            return published
        except ConnectionClosed:
            self._forget(ws)
            raise _lost() from None
        finally:
            del self._answers[command]

    async def _opened(self) -> WebSocket:
        """Wait for a WebSocket that is open."""
        while True:
            opened = self._open
            ws = await asyncio.shield(opened)
            if not ws.closed:
                return ws
            # The reader has not seen its end yet: wait for the next one.
            if self._open is opened:
                self._open = asyncio.get_running_loop().create_future()

    # -- connections ----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connect again and again, until a refusal is final."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                token = await self._new_token()
                async with self._make() as ws:
                    await self._talk(ws, token)
            except Exception as exc:
                if not self._passes(exc):
                    self._fail(exc)
                    return
                if loop.time() - began >= self._backoff.reset:
                    failures = 0
                delay = self._backoff.delay(failures, retry_after(exc))
                log.info("%s: connecting again in %.1f s", logs.escape(str(exc)), delay)
            failures += 1
            await asyncio.sleep(delay)

    def _passes(self, exc: Exception) -> bool:
        """Whether another attempt may succeed."""
        if not isinstance(exc, ConnectionClosed):
            return is_retryable(exc)
        if exc.code == Close.UNAUTHORIZED:
            return callable(self._token)
        if exc.code == CloseCode.MESSAGE_TOO_BIG and not exc.by_peer:
            return False  # it would come again
        return not 4400 <= exc.code < 4500 or exc.code in PASSING_REFUSALS

    def _fail(self, error: Exception) -> None:
        """There will be no connection any more."""
        self._lose_answers(error)
        _raise_in(self._open, error)
        self._buffer.end(error)

    async def _talk(self, ws: WebSocket, token: str | None) -> None:
        """Hold one connection, until an exception ends it."""
        if token is not None:
            ws.send_nowait(Auth(token).build())
        subscribing = asyncio.create_task(self._subscribe(ws))
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                hello = _parsed(await ws.recv())
            if isinstance(hello, messages.Error):  # such as a command before a token that we have not
                raise FeedError(hello.code, hello.reason)
            if not isinstance(hello, messages.Hello):
                raise FeedError("protocol", "the server is no feed: it has not said hello")
            self._greeted(ws, hello)
            self._open.set_result(ws)
            await self._read(ws)
        finally:
            subscribing.cancel()
            if self._renewal is not None:
                self._renewal.cancel()
            self._forget(ws)
            self._lose_answers(_lost())

    def _forget(self, ws: WebSocket) -> None:
        """Wait for the next WebSocket: who asks again at once must not find this one, which is closed."""
        if self._open.done() and self._open.exception() is None and self._open.result() is ws:
            self._open = asyncio.get_running_loop().create_future()

    async def _subscribe(self, ws: WebSocket) -> None:
        """Subscribe to all topics, no faster than a feed takes commands."""
        for number, topic in enumerate(list(self._topics.values()), 1):
            if number % COMMANDS_AT_ONCE == 0:
                await asyncio.sleep(1)
            if ws.closed:
                return
            topic.ends = 0
            ws.send_nowait(topic.subscribe(next(self._commands)))

    async def _read(self, ws: WebSocket) -> None:
        while True:
            message = _parsed(await ws.recv())
            if isinstance(message, messages.Ack):
                self._answered(message)
            elif isinstance(message, messages.Error):
                self._refused(ws, message)
            elif isinstance(message, messages.Hello):
                self._greeted(ws, message)
            elif (topic := self._topics.get(getattr(message, "topic", ""))) is not None:
                self._heard(ws, topic, message)
            while self._buffer.is_full() and not self._asking:
                await self._buffer.room()

    def _heard(self, ws: WebSocket, topic: FollowedTopic, message: messages.ServerMessage | None) -> None:
        if topic.ends:
            topic.ends -= isinstance(message, messages.End) and message.reason == "unsub"
            return
        if topic.is_elsewhere(message):
            topic.ends = 1
            ws.send_nowait(Unsub(topic.name).build())
            ws.send_nowait(topic.subscribe(next(self._commands)))
            return
        try:
            self._buffer.put(topic.events(message))
        except ValueError as error:
            raise FeedError("protocol", str(error)) from error
        if isinstance(message, messages.End):
            del self._topics[topic.name]
            self._check_topics()

    def _check_topics(self) -> None:
        """Without topics nothing is to be brought; publishing goes on."""
        if not self._topics:
            self._buffer.end(StopAsyncIteration())

    def _answered(self, ack: messages.Ack) -> None:
        answer = self._answers.get(ack.id)
        if answer is not None and not answer.done():
            answer.set_result(published_by(ack))

    def _refused(self, ws: WebSocket, error: messages.Error) -> None:
        after = None if error.retry_ms is None else error.retry_ms / 1000
        if (answer := self._answers.get(error.id)) is not None:
            _raise_in(answer, FeedError(error.code, error.reason, after))
        for topic in self._topics.values():
            if topic.command == error.id and error.code != "subscribed":
                if after is None:
                    raise FeedError(error.code, f"topic {topic.name!r}: {error.reason or error.code}")
                asyncio.get_running_loop().call_later(after, self._subscribe_again, ws, topic, error.id)

    def _subscribe_again(self, ws: WebSocket, topic: FollowedTopic, command: object) -> None:
        if topic.command == command and not ws.closed:
            ws.send_nowait(topic.subscribe(next(self._commands)))

    def _lose_answers(self, error: Exception) -> None:
        for answer in self._answers.values():
            _raise_in(answer, error)

    # -- tokens ---------------------------------------------------------------------------------

    async def _new_token(self) -> str | None:
        try:
            token = self._token() if callable(self._token) else self._token
            return await token if inspect.isawaitable(token) else token
        except (Exception, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            raise RuntimeError(f"there is no token: {exc!r}") from exc

    def _greeted(self, ws: WebSocket, hello: messages.Hello) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        if hello.expires is not None and callable(self._token):
            self._renewal = asyncio.create_task(self._renew(ws, hello.expires))

    async def _renew(self, ws: WebSocket, seconds: float) -> None:
        """Send a new token before the old one expires; another hello answers."""
        await asyncio.sleep(seconds * RENEW_AFTER)
        try:
            token = await self._new_token()
        except Exception as exc:
            log.warning("no new token, so the feed is going to close: %s", logs.escape(str(exc)))
        else:
            if token is not None and not ws.closed:
                ws.send_nowait(Auth(token).build())


def _parsed(text: str | bytes) -> messages.ServerMessage | None:
    try:
        return messages.parse_message(text if isinstance(text, str) else "")
    except ValueError as error:
        raise FeedError("protocol", f"the server is no feed: {error}") from error


def _lost() -> FeedError:
    return FeedError("lost", "the connection ended before the answer: it may have been published")


def _raise_in(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # asyncio would log one that nobody takes
