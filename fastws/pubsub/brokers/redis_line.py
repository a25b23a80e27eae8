"""One connection to Redis: commands leave in the order of the calls, and are answered in it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from fastws.loop.native import direct_descriptor, write_at_once
from fastws.pubsub.brokers.outbox import Waiting
from fastws.pubsub.brokers.redis_bounds import (
    ANSWER_BYTES,
    KEPT_BYTES,
    MESSAGE_BYTES,
    NOT_ENOUGH,
    BoundedReader,
)
from fastws.pubsub.brokers.redis_calls import Call, pack, packed
from fastws.pubsub.brokers.redis_scripts import READ
from fastws.pubsub.brokers.redis_server import Server, is_forbidden, refused, words_for

__all__ = ["ANSWER_SECONDS", "Command", "CommandLine", "Subscriptions"]

#: Why a connection has ended where it says nothing, as redis-py says it.
CLOSED = "Connection closed by server."
#: Who gives no answer for so many seconds is let go.
ANSWER_SECONDS = 8.0
#: Bytes of commands that are packed together.
PACKED_BYTES = 256 * 1024
#: Answers that are taken before others have a turn.
ANSWERS_AT_ONCE = 64


#: What subscribes and unsubscribes, and how a message begins; and what publishes: to all, and within a slot.
WHOLE = ("SUBSCRIBE", "UNSUBSCRIBE", b"message", "PUBLISH")
SHARDED = ("SSUBSCRIBE", "SUNSUBSCRIBE", b"smessage", "SPUBLISH")
#: It has forgotten the scripts, is the master no more, or another one has what this is about. The next
#: connections begin with the command that was answered so: to send it again here would change the order.
ELSEWHERE = (NoScriptError, ReadOnlyError, MovedError, AskError, TryAgainError, ClusterDownError)


class Command:
    """One command.

    Args:
        key: A key or channel that it is about.
        arguments: As Redis takes them; of a script, what stands behind what ``call`` has.
        done: Called with the answer, which may be an exception.
        is_repeated: Whether the next connection is sent it where this one has not answered.
        waiting: A blob that it publishes on the channel that is its key.
        call: A script that is to run.
    """

    __slots__ = ("arguments", "call", "done", "is_repeated", "key", "waiting")

    def __init__(
        self,
        key: str,
        arguments: tuple[Any, ...],
        done: Callable[[Any], None],
        *,
        is_repeated: bool = False,
        waiting: Waiting | None = None,
        call: Call | None = None,
    ) -> None:
        self.key = key
        self.arguments = arguments
        self.done = done
        self.is_repeated = is_repeated
        self.waiting = waiting
        self.call = call

    @property
    def is_void(self) -> bool:
        """True where its blob was dropped meanwhile."""
        return self.waiting is not None and self.waiting.is_dropped


class Line(asyncio.Protocol):
    """What both connections have in common: they are written and read here, without a task that waits.

    Args:
        connection: One of redis-py that is connected, and owes no answer.
        lost: Called once, with this line and the reason, when it has ended by itself.
    """

    def __init__(self, connection: Any, lost: Callable[[Any, str], None]) -> None:
        self._connection = connection
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Command] = deque()
        #: Whether what comes next waits for the end of this turn; and whether the server does not read.
        self._is_collecting = False
        self._is_paused = False
        self.is_open = True
        #: Since when the server has to say something, 0: it has not.
        self._owed_since = 0.0
        self._reader = BoundedReader(connection._parser.parse_error)
        self._transport: Any = connection._writer.transport
        self._transport.set_protocol(self)
        self._descriptor = direct_descriptor(self._transport)

    def _end(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self._lost(self, reason)

    async def close(self) -> None:
        """Let go of the connection."""
        self.is_open = False
        await self._connection.disconnect(nowait=True)

    def is_stuck(self) -> bool:
        """True when the server owes an answer for too long."""
        return 0 < self._owed_since < self._loop.time() - ANSWER_SECONDS

    # -- what leaves ----------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        """Send a command: the first of a turn at once, the others together at its end."""
        self._waiting.append(command)
        if not self._is_collecting:
            self._is_collecting = True
            self._loop.call_soon(self._end_turn)
            self._write()

    def _end_turn(self) -> None:
        self._is_collecting = False
        self._write()

    def _write(self) -> None:
        while self._waiting and self.is_open and not self._is_paused:
            data = self._next()
            if data:
                self._owed_since = self._owed_since or self._loop.time()
                write_at_once(self._transport, self._descriptor, data)

    def _next(self) -> bytes:
        """Return the next commands, to be sent together."""
        found: list[bytes] = []
        size = 0
        while self._waiting and size < PACKED_BYTES:
            command = self._waiting.popleft()
            if not command.is_void:
                found.append(self._sent(command))
                size += len(found[-1])
        return b"".join(found)

    def _sent(self, command: Command) -> bytes:
        """Note that a command is sent, and return it as Redis reads it."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The server reads too slowly: what is sent waits here."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has read."""
        self._is_paused = False
        self._write()

    # -- what comes -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        self._reader.feed(data)
        self._take_some()

    def _take_some(self) -> None:
        """Take answers; where there are many, the others when all else has had a turn."""
        try:
            for _ in range(ANSWERS_AT_ONCE):
                answer = self._reader.next() if self.is_open else NOT_ENOUGH
                if answer is NOT_ENOUGH:
                    self._transport.resume_reading()
                    return
                if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                    raise answer
                self._take(answer)
        except (RedisError, OSError, EOFError, ValueError) as error:
            self._end(words_for(error))
            return
        self._transport.pause_reading()
        self._loop.call_soon(self._take_some)

    def _take(self, answer: Any) -> None:
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """Say why, unless that is known."""
        self._end(CLOSED if exc is None else words_for(exc))


class CommandLine(Line):
    """For commands.

    Args:
        connection: As of a line.
        lost: As of a line.
        server: What is there.
    """

    def __init__(self, connection: Any, lost: Callable[[Any, str], None], server: Server) -> None:
        self._unanswered: deque[Command] = deque()
        self._publish = SHARDED[3] if server.is_sharded else WHOLE[3]
        #: What all scripts are told: how an epoch begins that they begin, of whom it is, how they publish.
        self._head = (secrets.token_hex(3), server.identity, str(int(server.is_durable)), self._publish)
        #: How many questions for what a topic keeps are not answered: only such an answer may be large.
        self._reads = 0
        super().__init__(connection, lost)

    def left_over(self) -> list[Command]:
        """Return what was not answered, or not even sent."""
        return [*self._unanswered, *self._waiting]

    @property
    def is_idle(self) -> bool:
        """True when all was answered."""
        return not self._unanswered and not self._waiting

    def _sent(self, command: Command) -> bytes:
        self._unanswered.append(command)
        call, arguments = command.call, command.arguments
        if call is None:
            assert command.waiting is not None
            return packed(self._publish, command.key, command.waiting.blob)
        if call.script is READ:
            self._reads += 1
            self._reader.most = KEPT_BYTES
        before = call.packed(self._head)
        return b"*%d\r\n%b%b" % (call.count + len(arguments), before, pack(*arguments))

    def _take(self, answer: Any) -> None:
        if not self._unanswered:
            raise ValueError("it says what nobody asked")
        if isinstance(answer, ELSEWHERE):
            raise answer
        command = self._unanswered.popleft()
        if command.call is not None and command.call.script is READ:
            self._reads -= 1
            if not self._reads:
                self._reader.most = ANSWER_BYTES
        self._owed_since = self._loop.time() if self._unanswered else 0.0
        command.done(answer)


class Subscriptions(Line):
    """For channels.

    Args:
        connection: As of a line.
        lost: As of a line.
        server: What is there.
        heard: Called with a channel and what was published there.
    """

    def __init__(
        self,
        connection: Any,
        lost: Callable[[Any, str], None],
        server: Server,
        heard: Callable[[str, bytes], None],
    ) -> None:
        self._heard = heard
        verbs = SHARDED if server.is_sharded else WHOLE
        self._subscribe, self._unsubscribe, self._message, _ = verbs
        #: What has been asked for, and not the contrary since.
        self._channels: set[str] = set()
        #: What the server was asked and has not answered, in that order: verbs, and channels.
        self._order: deque[tuple[Any, ...]] = deque()
        #: By channel: those who wait until it is heard.
        self._asked: dict[str, list[asyncio.Future[None]]] = {}
        super().__init__(connection, lost)
        self._reader.most = MESSAGE_BYTES

    def subscribe(self, *channels: str) -> list[asyncio.Future[None]]:
        """Hear channels; each future is done when one is heard, and fails where this user may not hear it."""
        futures = []
        for channel in channels:
            future: asyncio.Future[None] = self._loop.create_future()
            self._asked.setdefault(channel, []).append(future)
            futures.append(future)
            self._channels.add(channel)
            self.send(Command(channel, (self._subscribe, channel), _nothing))
        return futures

    def unsubscribe(self, channel: str) -> None:
        """Hear a channel no more."""
        self._channels.discard(channel)
        self.send(Command(channel, (self._unsubscribe, channel), _nothing))

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.send(Command("", ("PING",), _nothing))

    def fail(self, error: Exception) -> None:
        """Tell those who wait that nothing will be heard."""
        asked, self._asked = self._asked, {}
        for futures in asked.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # nobody need look at it

    def _sent(self, command: Command) -> bytes:
        self._order.append(command.arguments)
        return packed(*command.arguments)

    def _take(self, answer: Any) -> None:
        self._owed_since = 0.0
        if isinstance(answer, Exception):
            self._take_refusal(answer)
            return
        if answer == b"PONG":  # so a connection answers that hears no channel
            self._order.popleft()
            return
        if not isinstance(answer, (list, tuple)) or not answer:
            raise ValueError("it says what nobody asked")
        kind = answer[0]
        if kind == self._message:
            self._heard(answer[1].decode(), answer[2])
            return
        if kind in (b"subscribe", b"ssubscribe"):
            for future in self._asked.pop(answer[1].decode(), ()):
                if not future.done():
                    future.set_result(None)
        elif kind == b"sunsubscribe" and answer[1].decode() in self._channels:
            raise ValueError("another node of the cluster has that channel now")
        if self._order:
            self._order.popleft()

    def _take_refusal(self, error: Exception) -> None:
        """This user may not hear one of the channels: the others are heard as before."""
        verb, channel = (*self._order.popleft(), "")[:2] if self._order else ("", "")
        if verb != self._subscribe or not is_forbidden(error):
            raise error
        self._channels.discard(channel)
        for future in self._asked.pop(channel, ()):
            if not future.done():
                future.set_exception(refused(error))
                future.exception()  # nobody need look at it


def _nothing(answer: Any) -> None:
    """Do nothing."""
