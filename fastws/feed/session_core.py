"""The lower part of a session: commands are obeyed one after the other, and answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from fastws.feed.access import FeedError
from fastws.feed.hooks import HOOK
from fastws.feed.messages import Error, ServerMessage
from fastws.feed.protocol import MAX_COMMANDS_PER_SECOND, Close
from fastws.feed.watch import Watch
from fastws.loop.fatal import end_loop, is_cancelled
from fastws.pubsub.views import say

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox

__all__ = ["Line", "SessionCore", "Stage"]

log = logging.getLogger("fastws.error")

#: While so many commands wait for a hook, nothing more is read.
MAX_WAITING_COMMANDS = 64
#: Times the commands that are allowed in a second: then the client is closed.
FLOOD_FACTOR = 4


class Line(Protocol):
    """What a session needs of a WebSocket: a :class:`fastws.WebSocket` has it."""

    outbox: Outbox

    def close_nowait(self, code: int, reason: str) -> None: ...

    def pause_reading(self) -> None:
        """Read nothing more; call ``work`` when a socket that refuses bytes takes them again."""

    def resume_reading(self) -> None: ...


class Stage(Enum):
    """What a session waits for."""

    UNKNOWN = "who it is"
    OPEN = "commands"
    ENDED = "nothing"


class SessionCore:
    """Takes commands, and obeys one when the one before is done.

    Args:
        line: The WebSocket.
        ping: Seconds of silence that are ended.
    """

    __slots__ = (
        "_commands",
        "_count",
        "_line",
        "_outbox",
        "_reads",
        "_second",
        "_stage",
        "_waits_for",
        "_watch",
    )

    def __init__(self, line: Line, ping: float) -> None:
        self._line = line
        self._outbox = line.outbox
        self._stage = Stage.UNKNOWN
        #: What came and is not obeyed yet; True for those that came too fast.
        self._commands: list[tuple[str | bytes, bool]] = []
        #: What the command that is obeyed now waits for.
        self._waits_for: asyncio.Future[Any] | None = None
        self._reads = True
        self._watch = Watch(self, self._outbox, ping)
        self._second = 0.0
        self._count = 0

    async def _obey(self, message: str | bytes, *, too_fast: bool) -> None:
        raise NotImplementedError

    def end_topic(self, topic: str) -> None:
        """What was granted has expired."""
        raise NotImplementedError

    def receive(self, message: str | bytes) -> None:
        """A message has come."""
        if self._stage is Stage.ENDED:
            return
        now = self._watch.time()
        if now - self._second >= 1.0:
            self._second, self._count = now, 0
        self._count += 1
        if self._count > FLOOD_FACTOR * MAX_COMMANDS_PER_SECOND:
            self.close(Close.TOO_FAST, "too many commands")
            return
        self._commands.append((message, self._count > MAX_COMMANDS_PER_SECOND))
        self.work()

    def work(self) -> None:
        """Obey what waits, while nothing has to be waited for and the socket takes the answers."""
        while self._commands and self._can_work():
            message, too_fast = self._commands.pop(0)
            self._advance(self._obey(message, too_fast=too_fast))
        reads = self._stage is Stage.ENDED or (
            len(self._commands) < MAX_WAITING_COMMANDS and not self._outbox.blocked
        )
        was_reading, self._reads = self._reads, reads
        if not reads:
            self._line.pause_reading()
        elif not was_reading:
            self._line.resume_reading()

    def end(self) -> None:
        """The WebSocket is closed, or will be."""
        if self._stage is not Stage.ENDED:
            self._stage = Stage.ENDED
            self._commands.clear()
            self._watch.stop()
            task = self._waits_for
            if isinstance(task, asyncio.Task) and task.get_name() == HOOK:
                task.cancel()
            self.work()

    def is_open(self) -> bool:
        """True when the client has been welcomed."""
        return self._stage is Stage.OPEN

    def close(self, code: int, reason: str) -> None:
        """Refuse this client."""
        if self._stage is not Stage.ENDED:
            # A reason has at most 123 bytes (RFC 6455, section 5.5).
            self._line.close_nowait(code, reason.encode()[:123].decode(errors="ignore"))
            self.end()

    def _can_work(self) -> bool:
        return self._waits_for is None and not self._outbox.blocked and self._stage is not Stage.ENDED

    def _advance(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it has to wait, and on when that is over: most never wait, and need no task.

        It waits for futures only; what a hook awaits runs in a task.
        """
        try:
            future = coroutine.send(None)
        except StopIteration:
            return
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
            return
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            log.exception("a feed failed")
            self.close(1011, "internal error")
            return

        def go_on(done: asyncio.Future[Any]) -> None:
            self._waits_for = None
            if self._stage is Stage.ENDED:
                coroutine.close()
                if not done.cancelled() and done.exception() is not None:
                    log.error("what a client of a feed began has failed: %r", done.exception())
            else:
                self._advance(coroutine)
                self.work()

        self._waits_for = future
        future.add_done_callback(go_on)

    def say(self, message: ServerMessage) -> None:
        """Send a message."""
        if self._stage is not Stage.ENDED:
            say(self._outbox, message.build())

    def say_error(self, error: FeedError, id: Any, topic: str | None) -> None:
        """Tell why a command was not obeyed."""
        retry_ms = None if error.retry_after is None else round(1000 * error.retry_after)
        self.say(Error(error.code, error.reason, id, topic, retry_ms))
