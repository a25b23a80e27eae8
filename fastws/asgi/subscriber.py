"""Members of a hub that live in an ASGI or aiohttp application.

A WebSocket that is ours (``fastws serve``, or uvicorn with our plug-in) is found through its scope, and
a hub writes to it as to any other: encoded once. For a foreign one there is an outbox whose socket is
the application's own ``send``: while that has not returned, the client is slow, its queue is bounded,
and the topic's policy decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastws.asgi.scope import OURS
from fastws.config import Limits
from fastws.connection.outbox import Outbox
from fastws.loop.state import loop_state_of

if TYPE_CHECKING:
    from fastws.connection.publication import Publication

__all__ = ["Subscriber", "subscriber"]

log = logging.getLogger("fastws.error")

#: Seconds that a foreign WebSocket has to take the close of an eviction.
CLOSE_SECONDS = 5.0

SendMessage = Callable[[Any], Awaitable[object]]
Close = Callable[[int, str], Awaitable[object]]


def subscriber(websocket: Any, send: Any = None, *, limits: Limits | None = None) -> Subscriber:
    """Return what a :class:`fastws.Hub` takes for a WebSocket of another framework.

    ``websocket`` is one of Starlette or FastAPI, of aiohttp (``web.WebSocketResponse``) or of
    websockets, or the ``scope`` of a plain ASGI application with its ``send``. It must have been
    accepted, and the event loop must run. Best used as ``with fastws.subscriber(websocket) as me:``, which
    leaves every topic at its end; ``exclude=`` takes the same ``me``.

    Where the socket is ours, the hub writes to it directly, past middleware that wraps ``send``.
    Another one gets a queue of ``limits.send_queue`` messages and ``limits.send_queue_bytes`` bytes, and
    one task while something waits in it. Raises ``TypeError`` for what is no such WebSocket,
    ``RuntimeError`` before it is accepted.
    """
    if isinstance(websocket, Subscriber):
        return websocket
    session = _session(websocket)
    if session is not None:
        if session.outbox is None:
            raise RuntimeError("accept the WebSocket before it becomes a subscriber")
        return Subscriber(session.outbox)
    foreign = _Foreign(*_verbs(websocket, send), limits or Limits())
    return Subscriber(foreign.outbox, foreign)


class Subscriber:
    """A place in hubs; made by :func:`subscriber`."""

    __slots__ = ("_foreign", "outbox")

    def __init__(self, outbox: Outbox, foreign: _Foreign | None = None) -> None:
        self.outbox = outbox
        self._foreign = foreign

    @property
    def is_foreign(self) -> bool:
        """True when messages go through the framework's ``send``, encoded for this client alone."""
        return self._foreign is not None

    def leave(self) -> None:
        """Leave every topic; what waits is not sent. Nothing can be subscribed again where it is foreign."""
        self.outbox.leave_topics()
        if self._foreign is not None:
            self._foreign.end()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def _session(websocket: Any) -> Any:
    """Return our own session by the scope that ``websocket`` has, or is; None for a foreign one."""
    scope = getattr(websocket, "scope", websocket)
    extensions = scope.get("extensions") if isinstance(scope, Mapping) else None
    ours = extensions.get(OURS) if isinstance(extensions, Mapping) else None
    return ours["session"] if isinstance(ours, Mapping) else None


def _verbs(websocket: Any, send: Any) -> tuple[SendMessage, Close]:
    """Return how to send a message to a foreign WebSocket, and how to close it."""
    if send is not None:
        return _of_asgi(send)
    close = getattr(websocket, "close", None)
    for text, binary in (("send_text", "send_bytes"), ("send_str", "send_bytes"), ("send", "send")):
        send_text, send_bytes = getattr(websocket, text, None), getattr(websocket, binary, None)
        if callable(send_text) and callable(send_bytes) and callable(close):
            return _of_methods(send_text, send_bytes, close)
    raise TypeError(f"a subscriber is a WebSocket, or the scope of one with its send, not {websocket!r}")


def _of_asgi(send: Any) -> tuple[SendMessage, Close]:
    def message(message: str | bytes) -> Awaitable[object]:
        kind = "text" if isinstance(message, str) else "bytes"
        return send({"type": "websocket.send", kind: message})  # type: ignore[no-any-return]

    def close(code: int, reason: str) -> Awaitable[object]:
        return send({"type": "websocket.close", "code": code, "reason": reason})  # type: ignore[no-any-return]

    return message, close


def _of_methods(send_text: Any, send_bytes: Any, close: Any) -> tuple[SendMessage, Close]:
    def message(message: str | bytes) -> Awaitable[object]:
        return send_text(message) if isinstance(message, str) else send_bytes(message)  # type: ignore[no-any-return]

    def end(code: int, reason: str) -> Awaitable[object]:
        if send_text.__name__ == "send_str":
            return close(code=code, message=reason.encode())  # type: ignore[no-any-return]
        return close(code, reason)  # type: ignore[no-any-return]

    return message, end


class _Foreign:
    """The socket of an outbox, and its connection, where both are somebody else's.

    It *refuses* from the first message on until ``send`` has returned for all that it was given. To
    the outbox it is a peer whose frames only its connection can make: they are the messages.
    """

    def __init__(self, send: SendMessage, close: Close, limits: Limits) -> None:
        self._send = send
        self._close = close
        self._messages: deque[str | bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._evicted: str | None = None
        turn = loop_state_of(self._loop).turn
        self.outbox = Outbox(self, self, turn, -1, limits)
        self.outbox.frame_variant = -1

    # -- what the outbox asks of its connection -------------------------------------------------

    def encode_publication(self, entry: Publication) -> bytes:
        """Take a message; what is written for it afterwards only says that there is one."""
        self._messages.append(entry.message)
        return b""

    def evict(self, reason: str) -> None:
        self.outbox.is_open = False
        self.outbox.leave_topics()
        self._messages.clear()
        self._evicted = reason
        if self._task is not None:
            self._task.cancel()

    def drained(self) -> None:
        """Nobody waits for it."""

    # -- what it asks of its transport ----------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send what was taken; the outbox keeps what follows until that is done."""
        self.outbox.pause()
        if self._task is None and self.outbox.is_open:
            self._task = self._loop.create_task(self._run())

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return not self.outbox.is_open

    # -- the task that sends --------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._messages:
                await self._send(self._messages.popleft())
                if not self._messages:
                    # Takes what has come meanwhile, and then refuses again.
                    self.outbox.resume()
        except asyncio.CancelledError:
            if self._evicted is None:
                raise
        except Exception as exc:
            # Its client is gone: the application learns that from its own receive.
            log.debug("a subscriber is gone: %r", exc)
            self.end()
        finally:
            self._task = None
        if self._evicted is not None:
            await self._close_slow(self._evicted)

    async def _close_slow(self, reason: str) -> None:
        try:
            await asyncio.wait_for(self._close(1008, reason), CLOSE_SECONDS)
        except Exception as exc:
            log.debug("a subscriber that was too slow could not be closed: %r", exc)

    def end(self) -> None:
        self.outbox.is_open = False
        self.outbox.leave_topics()
        self.outbox.discard()
        self._messages.clear()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
