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
    """Callbacks of a WebSocket: the fast path, without a task per connection.

    One instance serves every connection of its route; keep what belongs to one of them in
    ``ws.state``. All methods are called on the event loop, are plain functions and must not block: one
    that does holds up every connection of its loop. Pings that went unanswered meanwhile end none.
    An exception in one of them is logged and closes that connection with 1011, no other.
    """

    __slots__ = ()

    def on_open(self, ws: WebSocket) -> None:
        """The handshake is done; ``ws`` can send."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        """A whole message: ``str`` for text, ``bytes`` for binary."""

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        """The WebSocket is closed, for whatever reason; called exactly once after ``on_open``."""

    def on_writable(self, ws: WebSocket) -> None:
        """A slow socket has taken all that waited for it."""


#: What a person may give to a route.
HandlerLike = Handler | type[Handler] | CoroutineFunction


class CoroutineHandler(Handler):
    """Runs ``async def handler(ws)`` in a task per connection.

    When the coroutine returns, the WebSocket closes with 1000; when it raises, with 1011, and the
    exception is logged. ``ConnectionClosed`` from a handler is no error. One that does not return goes
    on after its WebSocket, until it is cancelled with its server or client.
    """

    __slots__ = ("_function", "tasks")

    def __init__(self, function: CoroutineFunction) -> None:
        self._function = function
        #: Those that run now, also after their WebSocket has closed.
        self.tasks: set[asyncio.Task[None]] = set()

    def on_open(self, ws: WebSocket) -> None:
        ws.open_inbox()
        task = create_task(self._run(ws))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    #: Without a call of Python's own in between: each message comes this way.
    on_message = staticmethod(WebSocket.deliver)  # type: ignore[assignment]

    async def _run(self, ws: WebSocket) -> None:
        try:
            await self._function(ws)
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            # A server that stops has begun the close before; anybody else's cancelling is a failure.
            ws.close_nowait(1011, "internal error")
            raise
        except Exception:
            log.exception("handler of %r failed", ws)
            ws.close_nowait(1011, "internal error")
            return
        ws.close_nowait(1000, "")


class Callbacks:
    """The four callbacks of a handler, bound once for all connections of its route.

    None where the handler has none of its own, which nobody need call then; never ``on_message``. Raises
    ``TypeError`` as :func:`as_handler` does.
    """

    __slots__ = ("on_close", "on_message", "on_open", "on_writable", "tasks")

    def __init__(self, given: Any) -> None:
        handler = as_handler(given)
        #: The tasks of a coroutine handler that run now; none for callbacks.
        self.tasks: set[asyncio.Task[None]] = getattr(handler, "tasks", set())
        self.on_message = handler.on_message
        self.on_open = _own(handler, "on_open")
        self.on_close = _own(handler, "on_close")
        self.on_writable = _own(handler, "on_writable")


def _own(handler: Handler, name: str) -> Any:
    """Return a callback of the handler's own; None for the one that it inherits and that does nothing."""
    callback = getattr(handler, name)
    return None if getattr(callback, "__func__", None) is getattr(Handler, name) else callback


#: The callbacks of a :class:`Handler` and what they are called with.
CALLBACKS = {
    "on_open": ("ws",),
    "on_message": ("ws", "message"),
    "on_close": ("ws", "code", "reason"),
    "on_writable": ("ws",),
}


def check_arguments(function: Callable[..., Any], name: str, takes: tuple[str, ...]) -> None:
    """Raise ``TypeError`` for a function that cannot be called so."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # one that was compiled may have none to look at
    try:
        signature.bind(*takes)
    except TypeError:
        raise TypeError(f"{name} is called with ({', '.join(takes)}); it takes {signature}") from None


def as_handler(given: Any) -> Handler:
    """Return the handler for what a person gave to a route.

    Raises ``TypeError`` for anything but a :class:`Handler`, a subclass of it that can be made
    without arguments, or a coroutine function of one argument.
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
