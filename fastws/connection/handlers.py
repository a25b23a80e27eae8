"""What an application hands to a route: callbacks, or a coroutine function."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any

from fastws.config import check_arguments
from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosed
from fastws.logs import request_var
from fastws.loop.fatal import is_cancelled, is_collected
from fastws.loop.inline_task import create_task

__all__ = [
    "Callbacks",
    "CoroutineHandler",
    "Handler",
    "HandlerLike",
    "TaskHandler",
    "as_handler",
    "is_async",
    "opens_async",
]

log = logging.getLogger("fastws.error")

CoroutineFunction = Callable[[WebSocket], Awaitable[object]]


class Handler:
    """Callbacks of a WebSocket: the fast path, without a task for each connection.

    One instance serves every connection of its route; keep what belongs to one of them in ``ws.state``. All
    methods but ``on_open`` are plain functions, called on the event loop one at a time, and must not block:
    one that does holds up every connection of its loop. (No connection ends for pings that were not answered
    meanwhile.) An exception in one of them is logged and closes its connection with 1011 (RFC 6455, section
    7.4.1), and no other. A connection's calls come in order: ``on_open`` first, ``on_close`` last. After an
    ``on_open`` that raised there are no more calls.
    """

    __slots__ = ()

    def on_open(self, ws: WebSocket) -> Awaitable[None] | None:
        """The handshake is done; ``ws`` can send. On a server that leaves in one write with the 101.

        It may be an ``async def``: no other callback is called before it has ended. Up to
        ``Limits.receive_queue`` messages (32), or 256 KiB of them, wait meanwhile; then nothing more is read
        until it has ended. ``connect`` does not wait for it. When the client has gone and none of its
        messages wait, it is cancelled, also when the server stops; ``on_close`` comes in any case, and so it
        does after an ``on_open`` that ended with ``ConnectionClosed`` because its WebSocket was closed.

        Any other exception here is logged, and the WebSocket closes with 1011. No other callback is called
        for it, ``on_close`` neither: undo here what was done before the exception.
        """

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        """A message has come.

        Args:
            ws: From which WebSocket.
            message: ``str`` for text, ``bytes`` for binary; whole, up to ``Limits.max_message_size``. A
                :class:`fastws.Fragment` for a handler given to :func:`fastws.streaming`.
        """

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        """The WebSocket has ended, for whatever reason; called exactly once, unless ``on_open`` raised.

        An exception here is logged; the WebSocket is closed already.

        Args:
            ws: Which WebSocket; sending on it returns ``CLOSED`` or raises ``ConnectionClosed``.
            code: That of the first close frame, the peer's or ours. 1005: it carried none. 1006: TCP ended
                without a close frame (RFC 6455, section 7.1.5).
            reason: What came with the code; "" if nothing did.
        """

    def on_writable(self, ws: WebSocket) -> None:
        """All that waited has left (``send_nowait``: ``QUEUED``).

        The socket was slow and has taken it, or a message in fragments is complete.
        """

    def on_gap(self, ws: WebSocket, topic: str, missed: int | None, reason: str) -> None:
        """Messages of a topic that this WebSocket listens to do not come.

        Called before the next message of that topic is sent.

        Args:
            ws: Which WebSocket.
            topic: The topic's name.
            missed: How many messages, exactly; None where nobody can know.
            reason: ``"slow"``: the topic has a history, and forgot messages before this client took them.
                ``"bus"``: this process read the bus of a hub too slowly. ``"binary"``: another process
                published binary messages to a topic that merges text here. ``"sampled"``: the topic has a
                ``sample``, or this client a ``max_rate``, and more was published; told once a second. Those
                of a :class:`fastws.Synced`: it is told here, since the handler has no ``on_sync``.
        """

    def on_sync(self, ws: WebSocket, synced: Any) -> None:
        """It is known now where a subscription to a topic with a history begins, or goes on.

        For hubs that workers share. Called before the next message of that topic is sent, where
        ``hub.subscribe`` returned None since what the topic keeps was not here yet; and again where the
        process that numbers the messages has begun anew (``reason`` is ``"epoch"``). Without this function
        ``on_gap`` is told what was missed; without that, a client that has missed something is closed with
        1008 (RFC 6455, section 7.4.1), unless the topic's policy is ``"drop_oldest"``.

        Args:
            ws: Which WebSocket.
            synced: A :class:`fastws.Synced`, as ``hub.subscribe`` returns it.
        """


#: What an application may give to a route.
HandlerLike = Handler | type[Handler] | CoroutineFunction


class TaskHandler(Handler):
    """A handler of ours, which has tasks."""

    __slots__ = ("tasks",)

    #: The tasks that run now, also those whose WebSocket has ended.
    tasks: set[asyncio.Task[None]]
    #: ``on_open`` returns a coroutine that is to be awaited.
    opens_async = False


class CoroutineHandler(TaskHandler):
    """Runs ``async def handler(ws)`` in a task for each connection.

    When the coroutine returns, the WebSocket closes with 1000. When it raises, the WebSocket closes with 1011
    and the exception is logged; ``ConnectionClosed`` is no error. A coroutine that does not return goes on
    after the end of its WebSocket, until its server or client cancels it.
    """

    __slots__ = ("_function",)

    def __init__(self, function: CoroutineFunction) -> None:
        self._function = function
        self.tasks = set()

    def on_open(self, ws: WebSocket) -> None:
        ws.open_inbox()
        task = create_task(self._run(ws))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    #: Not by a function of Python's: each message is delivered here.
    on_message = staticmethod(WebSocket.deliver)  # type: ignore[assignment]

    async def _run(self, ws: WebSocket) -> None:
        request_var.set(ws.request)  # of this task alone, and of those that it begins
        try:
            await self._function(ws)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError as exc:
            # A server that stops has begun the close before; any other cancellation is a failure.
            if not is_cancelled(exc):
                log.exception("handler of %r failed", ws)
            ws.close_nowait(1011, "internal error")
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            if is_collected(exc):
                raise
            log.exception("handler of %r failed", ws)
            ws.close_nowait(1011, "internal error")
            return
        ws.close_nowait(1000, "")


class Callbacks:
    """The callbacks of a handler, bound once for all connections of its route.

    A callback that the handler does not define is None, and not called; ``on_message`` is always there.
    An ``async def on_open`` stands here as a function that begins its task. Raises ``TypeError`` as
    :func:`as_handler` does.
    """

    __slots__ = (
        "on_close",
        "on_gap",
        "on_message",
        "on_open",
        "on_refused",
        "on_sync",
        "on_writable",
        "tasks",
    )

    def __init__(self, given: Any) -> None:
        handler = as_handler(given)
        #: The tasks of a coroutine handler, or of an async ``on_open``, that run now.
        self.tasks: set[asyncio.Task[None]] = handler.tasks if isinstance(handler, TaskHandler) else set()
        self.on_message = handler.on_message
        self.on_open: Any = None
        self.on_close = _own(handler, "on_close")
        self.on_writable = _own(handler, "on_writable")
        self.on_gap = _own(handler, "on_gap")
        self.on_sync = _own(handler, "on_sync")
        #: Of a feed: a broker refuses a topic.
        self.on_refused = getattr(handler, "_on_refused", None)
        if opens_async(handler):
            self.on_open = _begins_task(handler.on_open, copy(self))
        else:
            self.on_open = _own(handler, "on_open")


def _begins_task(on_open: Any, callbacks: Callbacks) -> Callable[[WebSocket], None]:
    """Return an ``on_open`` that runs the handler's async one in a task; ``callbacks`` are for after that."""

    def begin(ws: WebSocket) -> None:
        coroutine = on_open(ws)
        if inspect.iscoroutine(coroutine):  # else a decorator has made a task of it
            task = ws.open_async(callbacks, coroutine)
            callbacks.tasks.add(task)
            task.add_done_callback(callbacks.tasks.discard)

    begin.__name__ = "on_open"
    return begin


def _own(handler: Handler, name: str) -> Any:
    """Return a callback that the handler defines; None for the inherited one, which does nothing."""
    callback = getattr(handler, name)
    return None if getattr(callback, "__func__", None) is getattr(Handler, name) else callback


#: The callbacks of a :class:`Handler` and what they are called with.
CALLBACKS = {
    "on_open": ("ws",),
    "on_message": ("ws", "message"),
    "on_close": ("ws", "code", "reason"),
    "on_writable": ("ws",),
    "on_gap": ("ws", "topic", "missed", "reason"),
    "on_sync": ("ws", "synced"),
}


def is_async(function: object) -> bool:
    """True for an ``async def``, and for an object whose class has an ``async def __call__``."""
    if inspect.iscoroutinefunction(function):
        return True
    return callable(function) and inspect.iscoroutinefunction(type(function).__call__)


def opens_async(handler: Handler) -> bool:
    """True for a handler whose ``on_open`` is to be awaited."""
    if isinstance(handler, TaskHandler):
        return handler.opens_async
    return is_async(handler.on_open) or is_async(inspect.unwrap(handler.on_open))


def as_handler(given: Any) -> Handler:
    """Return the handler for what an application gave to a route.

    Args:
        given: A :class:`Handler`, a subclass of it that can be made without arguments, or a coroutine
            function of one argument.

    Raises:
        TypeError: It is anything else, or a callback has the wrong arguments, or one other than ``on_open``
            is ``async``.
    """
    if isinstance(given, type) and issubclass(given, Handler):
        given = given()
    if isinstance(given, Handler):
        for name, takes in CALLBACKS.items():
            if is_async(callback := getattr(given, name)) and name != "on_open":
                raise TypeError(
                    f"{type(given).__name__}.{name} is async; of the callbacks only on_open may be: "
                    "use `async def handler(ws)` instead"
                )
            check_arguments(callback, f"{type(given).__name__}.{name}", takes)
        return given
    if is_async(given):
        check_arguments(given, f"the handler {getattr(given, '__name__', given)}", ("ws",))
        return CoroutineHandler(given)
    raise TypeError(f"a handler is a fastws.Handler or an `async def handler(ws)`, not {given!r}")
