"""Handlers that take messages in parts, as they arrive."""

from __future__ import annotations

from collections.abc import Awaitable

from fastws.connection.handlers import Handler, HandlerLike, TaskHandler, as_handler, opens_async
from fastws.connection.websocket import WebSocket

__all__ = ["streaming"]


def streaming(handler: HandlerLike, *, max_message_size: int | None = None) -> Handler:
    """Let ``handler`` take messages in parts, as they arrive: for messages that memory should not hold.

    For a route or a server, or as ``handler=`` of :func:`fastws.connect`. Its WebSockets do not use
    compression.

    Args:
        handler: An ``async def handler(ws)`` uses ``async for part in ws.recv_streaming()``; its ``recv()``
            still returns whole messages up to the limit. The ``on_message`` of a :class:`fastws.Handler` is
            given :class:`fastws.Fragment` values.
        max_message_size: Bytes of a whole message; a larger one closes with 1009 (RFC 6455, section 7.4.1).
            It takes the place of ``Limits.max_message_size`` and ``max_fragments``. Default None: no limit.

    Returns:
        The handler for the route.

    Raises:
        TypeError: ``handler`` is no handler.
        ValueError: ``max_message_size`` is below 1.
    """
    if max_message_size is not None and max_message_size < 1:
        raise ValueError("max_message_size is at least 1, or None")
    return _StreamingHandler(as_handler(handler), max_message_size)


class _StreamingHandler(TaskHandler):
    __slots__ = (
        "_handler",
        "_max_message_size",
        "on_close",
        "on_gap",
        "on_message",
        "on_sync",
        "on_writable",
        "opens_async",
    )

    #: Routes and clients with this handler do not negotiate compression.
    takes_parts = True

    def __init__(self, handler: Handler, max_message_size: int | None) -> None:
        self._handler = handler
        self._max_message_size = max_message_size
        self.on_message = handler.on_message  # type: ignore[method-assign]
        self.on_close = handler.on_close  # type: ignore[method-assign]
        self.on_writable = handler.on_writable  # type: ignore[method-assign]
        self.on_gap = handler.on_gap  # type: ignore[method-assign]
        self.on_sync = handler.on_sync  # type: ignore[method-assign]
        self.opens_async = opens_async(handler)
        self.tasks = handler.tasks if isinstance(handler, TaskHandler) else set()

    def on_open(self, ws: WebSocket) -> Awaitable[None] | None:
        opening = self._handler.on_open(ws)
        ws.open_stream(self._max_message_size)
        return opening
