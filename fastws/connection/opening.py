"""An ``async def on_open``: what comes for the handler meanwhile waits until it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from enum import Enum
from typing import Any

from fastws.errors import ConnectionClosed
from fastws.logs import request_var
from fastws.loop.fatal import end_loop, is_cancelled, is_collected

__all__ = ["Opening"]

log = logging.getLogger("fastws.error")

#: While so many bytes of messages wait, or ``Limits.receive_queue`` messages, nothing is read.
WAITING_BYTES = 256 * 1024


class Outcome(Enum):
    """What has become of the ``on_open``."""

    RUNNING = "it has not ended"
    RETURNED = "the handler takes what waits"
    LEFT = "it ended because its WebSocket had: the handler is told of that end, and of nothing else"
    FAILED = "the handler hears no more of this WebSocket"


RUNNING, RETURNED, LEFT, FAILED = Outcome


class Opening:
    """Takes the place of a connection's callbacks until the handler's ``on_open`` has ended.

    The connection reads on meanwhile, so that pings are answered and the peer's leaving is seen.

    Args:
        connection: The connection.
        ws: Its WebSocket.
        callbacks: The handler's, for the time after this one.
        on_open: The coroutine that the handler's ``on_open`` returned.
    """

    __slots__ = (
        "_callbacks",
        "_connection",
        "_end",
        "_messages",
        "_on_open",
        "_outcome",
        "_size",
        "_task",
        "_told",
        "_was_drained",
        "_ws",
    )

    def __init__(
        self, connection: Any, ws: Any, callbacks: Any, on_open: Coroutine[Any, Any, object]
    ) -> None:
        self._connection = connection
        self._ws = ws
        self._callbacks = callbacks
        self._on_open = on_open
        self._outcome = RUNNING
        self._task: asyncio.Task[None] | None = None
        #: Messages, or parts of them, in the order in which they came, and their bytes or characters.
        self._messages: list[Any] = []
        self._size = 0
        #: Gaps and positions that the hub has told: the name of the verb, and its arguments.
        self._told: list[tuple[str, tuple[Any, ...]]] = []
        self._was_drained = False
        #: Code and reason of the end that ``on_close`` is to be told of.
        self._end: tuple[int, str] | None = None

    def start(self) -> asyncio.Task[None]:
        """Take the place of the callbacks, and return the task in which ``on_open`` runs."""
        self._redirect(self)
        self._task = task = asyncio.get_running_loop().create_task(self._run())
        task.add_done_callback(self._ended)
        return task

    def _redirect(self, callbacks: Any) -> None:
        self._connection.callbacks = callbacks
        self._connection.on_message = callbacks.on_message

    async def _run(self) -> None:
        ws = self._ws
        request_var.set(ws.request)  # of this task alone, and of those that it begins
        try:
            await self._on_open
            self._outcome = RETURNED
        except BaseException as exc:
            self._outcome = FAILED
            if is_collected(exc):
                raise
            if is_cancelled(exc):
                # While the WebSocket is open, it is the application that cancels this task.
                self._outcome = LEFT if ws.closed else FAILED
                raise
            if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                raise
            if ws.closed and isinstance(exc, ConnectionClosed):
                self._outcome = LEFT
            else:
                log.exception("on_open of %r failed", ws)

    # -- what the connection tells meanwhile ----------------------------------------------------

    def on_message(self, ws: Any, message: Any) -> None:
        self._messages.append(message)
        self._size += len(getattr(message, "data", message))
        connection = self._connection
        if self._size >= WAITING_BYTES or len(self._messages) >= connection.outbox.limits.receive_queue:
            connection.pause_inbox()

    def on_writable(self, ws: Any) -> None:
        self._was_drained = True

    def on_gap(self, ws: Any, topic: str, missed: int | None, reason: str) -> None:
        self._told.append(("tell_gap", (topic, missed, reason)))

    def on_sync(self, ws: Any, synced: Any) -> None:
        self._told.append(("tell_sync", (synced,)))

    def on_close(self, ws: Any, code: int, reason: str) -> None:
        """The WebSocket has ended: where no message waits for ``on_open``, it is cancelled.

        That comes once TCP has ended: ``await ws.close()`` in ``on_open`` returns before it.
        """
        if self._outcome is FAILED:
            return
        self._end = code, reason
        if not self._connection.machine.closed_by_peer:
            self._messages.clear()  # after our own close no message is delivered
        if not self._messages:
            self._connection.when_lost(self._cancel)

    def _cancel(self, _: object) -> None:
        if self._task is not None:
            self._task.cancel()

    # -- the end of on_open ---------------------------------------------------------------------

    def _ended(self, _: object) -> None:
        """Give the place back, with all that has waited."""
        self._task = None
        if self._outcome is RUNNING:  # cancelled before its first step
            self._outcome = LEFT if self._ws.closed else FAILED
            self._on_open.close()
        if self._outcome is FAILED:
            self._messages.clear()
            self._ws.close_nowait(1011, "internal error")
        elif self._end is not None:
            self._tell_end(*self._end)
        else:
            self._redirect(self._callbacks)
            for verb, arguments in self._told:
                getattr(self._ws, verb)(*arguments)
            self._connection.redeliver(self._messages)
            if self._was_drained:
                self._connection.drained()

    def _tell_end(self, code: int, reason: str) -> None:
        """The WebSocket has ended before ``on_open``: the handler gets what came before, and the end."""
        for message in self._messages if self._outcome is RETURNED else ():
            self._call("on_message", message)
        if self._callbacks.on_close is not None:
            self._call("on_close", code, reason)

    def _call(self, name: str, *args: Any) -> None:
        try:
            getattr(self._callbacks, name)(self._ws, *args)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException:
            log.exception("%s of %r failed", name, self._ws)
