"""Subscribers of a hub that live in an ASGI or aiohttp application.

A WebSocket that is ours (``fastws serve``, or uvicorn with our plug-in) is found through its scope. A hub
writes to it as to any other of ours: it encodes a message once for all of them. A foreign WebSocket gets an
outbox whose transport is the application's own ``send`` (a ``Sink``). While ``send`` has not returned, the
client is slow: its queue is bounded, and the topic's policy decides.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastws.asgi.scope import OURS
from fastws.asgi.sink import CloseVerb, SendVerb, open_sink
from fastws.config import Limits, check_arguments
from fastws.connection.handlers import is_async
from fastws.connection.websocket_core import WebSocketCore
from fastws.loop.fatal import end_loop

if TYPE_CHECKING:
    from fastws.asgi.sink import Sink
    from fastws.connection.outbox import Outbox

__all__ = ["GapVerb", "Subscriber", "SyncVerb", "close_verb", "subscriber", "websocket_of"]

log = logging.getLogger("fastws.error")

#: Is called with a topic, how many of its messages did not come (None: nobody knows), and why.
GapVerb = Callable[[str, int | None, str], object]
#: Is called with a :class:`fastws.Synced`.
SyncVerb = Callable[[Any], object]


def subscriber(
    websocket: Any,
    send: Any = None,
    *,
    limits: Limits | None = None,
    on_gap: GapVerb | None = None,
    on_sync: SyncVerb | None = None,
) -> Subscriber:
    """Return what a :class:`fastws.Hub` takes for a WebSocket of another framework.

    Use it as ``with fastws.subscriber(websocket) as me:``. The end of the block leaves every topic.
    ``hub.publish(..., exclude=me)`` takes the same ``me``.

    Where the socket is ours (``fastws serve``, or uvicorn with ``fastws.uvicorn``), the hub writes to it
    directly, and middleware that wraps ``send`` does not see the messages. Any other WebSocket gets a queue,
    and one task while something waits in that. A client whose queue is full and whose topic evicts is closed
    with 1008 (RFC 6455, section 7.4.1).

    Args:
        websocket: A WebSocket of Starlette or FastAPI, of aiohttp (``web.WebSocketResponse``) or of
            websockets, or the ``scope`` of a plain ASGI application. The application must have accepted it.
            A :class:`fastws.WebSocket` needs this for ``on_gap`` and ``on_sync`` only.
        send: The ``send`` of the plain ASGI application. None (default) where ``websocket`` can send itself.
        limits: ``send_queue`` (256 messages) and ``send_queue_bytes`` (1 MiB) bound the queue of a foreign
            WebSocket. A WebSocket of ours keeps the limits of its route.
        on_gap: A function that is called with ``(topic, missed, reason)`` where messages of a topic do not
            come, before the next one of that topic is sent: what :meth:`Handler.on_gap` is to a native
            handler. An exception in it is logged. Default None: the log alone tells, and a client that is too
            slow for a topic with a history is closed.
        on_sync: A function that is called with a :class:`fastws.Synced`: what :meth:`Handler.on_sync` is to a
            native handler. An exception in it is logged. Default None: ``on_gap`` tells what was missed.

    Returns:
        A context manager, whose ``leave()`` does what the end of the block does. To subscribe a foreign
        WebSocket again after it has left, call ``subscriber`` again.

    Raises:
        TypeError: ``websocket`` is none of these, ``on_gap`` no plain function of three arguments, or
            ``on_sync`` none of one.
        RuntimeError: The application has not accepted it yet, or no event loop runs in this thread.
    """
    if on_gap is not None:
        if is_async(on_gap):
            raise TypeError("on_gap= is a plain function: nobody would await it")
        check_arguments(on_gap, "on_gap=", ("topic", "missed", "reason"))
    if on_sync is not None:
        if is_async(on_sync):
            raise TypeError("on_sync= is a plain function: nobody would await it")
        check_arguments(on_sync, "on_sync=", ("synced",))
    if isinstance(websocket, Subscriber):
        return websocket
    session = _session(websocket)
    if session is not None:
        if session.outbox is None:
            raise RuntimeError("accept the WebSocket before it becomes a subscriber")
        return Subscriber(session.outbox, on_gap=on_gap, on_sync=on_sync, core=session.ws)
    if isinstance(websocket, WebSocketCore):
        return Subscriber(websocket.outbox, on_gap=on_gap, on_sync=on_sync, core=websocket)
    sink = open_sink(*_verbs(websocket, send), limits or Limits())
    return Subscriber(sink.outbox, sink, on_gap=on_gap, on_sync=on_sync)


class Subscriber:
    """What a hub takes in place of a WebSocket; made by :func:`subscriber`."""

    __slots__ = ("_core", "_on_gap", "_on_sync", "_sink", "outbox")

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink | None = None,
        *,
        on_gap: GapVerb | None = None,
        on_sync: SyncVerb | None = None,
        core: WebSocketCore | None = None,
    ) -> None:
        #: What the hub writes to.
        self.outbox = outbox
        #: What a foreign WebSocket's outbox writes to; None where the socket is ours.
        self._sink = sink
        #: Our WebSocket behind it; None where the socket is not ours.
        self._core = core
        self._on_gap = on_gap
        self._on_sync = on_sync

    def tell_gap(self, topic: str, missed: int | None, reason: str) -> bool:
        """Tell the application that messages of a topic do not come; False when it does not want to know."""
        if self._on_gap is None:
            return False
        try:
            self._on_gap(topic, missed, reason)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException:
            log.exception("on_gap of a subscriber failed")
        return True

    def tell_sync(self, synced: object) -> bool:
        """Tell the application where a subscription goes on; False when it does not want to know."""
        if self._on_sync is None:
            return False
        try:
            self._on_sync(synced)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException:
            log.exception("on_sync of a subscriber failed")
        return True

    async def sent(self) -> None:
        """Wait until a foreign WebSocket has been sent what waits for it, or ours takes bytes again."""
        if self._sink is not None:
            await self._sink.sent()
        elif self._core is not None:
            await self._core.unblocked()

    @property
    def is_foreign(self) -> bool:
        """True when messages go through the framework's ``send``, encoded for this client alone."""
        return self._sink is not None

    def leave(self) -> None:
        """Leave every topic. A foreign WebSocket is not sent what waits, and this cannot subscribe again."""
        self.outbox.leave_topics()
        if self._sink is not None:
            self._sink.end()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def websocket_of(websocket: Any) -> Any:
    """Return our own WebSocket behind an accepted one of another framework; None for a foreign one."""
    if isinstance(websocket, WebSocketCore):
        return websocket
    session = _session(websocket)
    return None if session is None else session.ws


def close_verb(websocket: Any) -> CloseVerb:
    """Return how to close a foreign WebSocket that can send itself."""
    return _verbs(websocket, None)[1]


def _session(websocket: Any) -> Any:
    """Return our own session by the scope that ``websocket`` has, or is; None for a foreign one."""
    scope = getattr(websocket, "scope", websocket)
    extensions = scope.get("extensions") if isinstance(scope, Mapping) else None
    ours = extensions.get(OURS) if isinstance(extensions, Mapping) else None
    return ours["session"] if isinstance(ours, Mapping) else None


def _verbs(websocket: Any, send: Any) -> tuple[SendVerb, CloseVerb]:
    """Return how to send a message to a foreign WebSocket, and how to close it."""
    if send is not None:
        return _of_asgi(send)
    close = getattr(websocket, "close", None)
    for text, binary in (("send_text", "send_bytes"), ("send_str", "send_bytes"), ("send", "send")):
        send_text, send_bytes = getattr(websocket, text, None), getattr(websocket, binary, None)
        if callable(send_text) and callable(send_bytes) and callable(close):
            return _of_methods(send_text, send_bytes, close)
    raise TypeError(f"a subscriber is a WebSocket, or the scope of one with its send, not {websocket!r}")


def _of_asgi(send: Any) -> tuple[SendVerb, CloseVerb]:
    def message(message: str | bytes) -> Awaitable[object]:
        kind = "text" if isinstance(message, str) else "bytes"
        return send({"type": "websocket.send", kind: message})  # type: ignore[no-any-return]

    def close(code: int, reason: str) -> Awaitable[object]:
        return send({"type": "websocket.close", "code": code, "reason": reason})  # type: ignore[no-any-return]

    return message, close


def _of_methods(send_text: Any, send_bytes: Any, close: Any) -> tuple[SendVerb, CloseVerb]:
    def message(message: str | bytes) -> Awaitable[object]:
        return send_text(message) if isinstance(message, str) else send_bytes(message)  # type: ignore[no-any-return]

    def end(code: int, reason: str) -> Awaitable[object]:
        if send_text.__name__ == "send_str":
            return close(code=code, message=reason.encode())  # type: ignore[no-any-return]
        return close(code, reason)  # type: ignore[no-any-return]

    return message, end
