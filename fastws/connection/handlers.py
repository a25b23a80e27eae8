"""What an application hands to a route: callbacks, or a coroutine function."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosed
from fastws.loop.inline_task import create_task

__all__ = ["Callbacks", "CoroutineHandler", "Handler", "HandlerLike", "as_handler"]

log = logging.getLogger("fastws.error")

CoroutineFunction = Callable[[WebSocket], Awaitable[object]]


class Handler:
    """Callbacks of a WebSocket: the fast path, without a task for each connection.

    One instance serves every connection of its route; keep what belongs to one of them in ``ws.state``. All
    methods are plain functions, called on the event loop one at a time, and must not block: one that does
    holds up every connection of its loop. (No connection ends for pings that were not answered meanwhile.)
    An exception in one of them is logged and closes its connection with 1011 (RFC 6455, section 7.4.1), and
    no other. A connection's calls come in order: ``on_open`` first, ``on_close`` last. After an ``on_open``
    that raised there are no more calls.
    """

    __slots__ = ()

    def on_open(self, ws: WebSocket) -> None:
        """The handshake is done; ``ws`` can send. On a server that leaves in one write with the 101.

        An exception here is logged, and the WebSocket closes with 1011. No other callback is called for it,
        ``on_close`` neither: undo here what was done before the exception.
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

    def on_gap(self, ws: WebSocket, topic: str, missed: int, reason: str) -> None:
        """Messages of a topic that this WebSocket listens to did not come to this process.

        Called before the next message of that topic is sent.

        Args:
            ws: Which WebSocket.
            topic: The topic's name.
            missed: How many messages, exactly.
            reason: ``"bus"``: this process read the bus of a hub too slowly. ``"binary"``: another process
                published binary messages to a topic that merges text here.
        """


#: What an application may give to a route.
HandlerLike = Handler | type[Handler] | CoroutineFunction


class CoroutineHandler(Handler):
    """Runs ``async def handler(ws)`` in a task for each connection.

    When the coroutine returns, the WebSocket closes with 1000. When it raises, the WebSocket closes with 1011
    and the exception is logged; ``ConnectionClosed`` is no error. A coroutine that does not return goes on
    after the end of its WebSocket, until its server or client cancels it.
    """

    __slots__ = ("_function", "tasks")

    def __init__(self, function: CoroutineFunction) -> None:
        self._function = function
        #: The tasks that run now, also those whose WebSocket has ended.
        self.tasks: set[asyncio.Task[None]] = set()

    def on_open(self, ws: WebSocket) -> None:
        ws.open_inbox()
        task = create_task(self._run(ws))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    #: Not by a function of Python's: each message is delivered here.
    on_message = staticmethod(WebSocket.deliver)  # type: ignore[assignment]

    async def _run(self, ws: WebSocket) -> None:
        try:
            await self._function(ws)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            # A server that stops has begun the close before; any other cancellation is a failure. Where
            # nobody has cancelled this task, the handler has awaited another one that was.
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                log.exception("handler of %r failed", ws)
            ws.close_nowait(1011, "internal error")
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            log.exception("handler of %r failed", ws)
            ws.close_nowait(1011, "internal error")
            return
        ws.close_nowait(1000, "")


class Callbacks:
    """The callbacks of a handler, bound once for all connections of its route.

    A callback that the handler does not define is None, and not called; ``on_message`` is always there.
    Raises ``TypeError`` as :func:`as_handler` does.
    """

    __slots__ = ("on_close", "on_gap", "on_message", "on_open", "on_writable", "tasks")

    def __init__(self, given: Any) -> None:
        handler = as_handler(given)
        #: The tasks of a coroutine handler that run now; none for callbacks.
        self.tasks: set[asyncio.Task[None]] = getattr(handler, "tasks", set())
        self.on_message = handler.on_message
        self.on_open = _own(handler, "on_open")
        self.on_close = _own(handler, "on_close")
        self.on_writable = _own(handler, "on_writable")
        self.on_gap = _own(handler, "on_gap")


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
}


def check_arguments(function: Callable[..., Any], name: str, takes: tuple[str, ...]) -> None:
    """Raise ``TypeError`` for a function that cannot be called with the arguments named in ``takes``."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a compiled function may have no signature to look at
    try:
        signature.bind(*takes)
    except TypeError:
        raise TypeError(f"{name} is called with ({', '.join(takes)}); it takes {signature}") from None


def as_handler(given: Any) -> Handler:
    """Return the handler for what an application gave to a route.

    Args:
        given: A :class:`Handler`, a subclass of it that can be made without arguments, or a coroutine
            function of one argument.

    Raises:
        TypeError: It is anything else, or a callback has the wrong arguments or is ``async``.
    """
    if isinstance(given, type) and issubclass(given, Handler):
        given = given()
    if isinstance(given, Handler):
        for name, takes in CALLBACKS.items():
            if inspect.iscoroutinefunction(callback := getattr(given, name)):
                raise TypeError(
                    f"{type(given).__name__}.{name} is async, which callbacks are not: "
                    "use `async def handler(ws)` instead"
                )
            check_arguments(callback, f"{type(given).__name__}.{name}", takes)
        return given
    # An object whose class has an `async def __call__` will do too.
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__):
        check_arguments(given, f"the handler {getattr(given, '__name__', given)}", ("ws",))
        return CoroutineHandler(given)
    raise TypeError(f"a handler is a fastws.Handler or an `async def handler(ws)`, not {given!r}")
