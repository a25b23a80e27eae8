# cython: annotation_typing=False
"""Sending an iterable as the fragments of one message (RFC 6455, section 5.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

from fastws.connection.websocket_core import Message, WebSocketCore, exact_message
from fastws.protocol.websocket.frames import Opcode

__all__ = ["send_fragments"]

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
CONTINUATION = int(Opcode.CONTINUATION)

#: A fragment of this size ends the turn of the coroutine that sends it, as many small ones do.
LARGE_FRAGMENT_BYTES = 16 * 1024


async def send_fragments(ws: WebSocketCore, fragments: Iterable[Message] | AsyncIterable[Message]) -> bool:
    """Send each item as a fragment; return False when there was none, and so no message.

    Raises as :meth:`fastws.WebSocket.send`. An exception, also of the iterable, or a cancellation after the
    first fragment closes the WebSocket with 1011: nobody could complete the message.
    """
    async with ws._lock_of_fragments():
        # One item is kept back, for only the last frame has FIN set.
        pending: str | bytes | None = None
        opcode = TEXT
        try:
            async for item in _each(fragments):
                fragment = exact_message(item)
                if pending is None:
                    opcode = TEXT if isinstance(fragment, str) else BINARY
                else:
                    if isinstance(pending, str) is not isinstance(fragment, str):
                        raise TypeError("the fragments of one message are all str or all bytes")
                    await _push(ws, opcode, pending, fin=False)
                    opcode = CONTINUATION
                pending = fragment
            if pending is not None:
                await _push(ws, opcode, pending, fin=True)
        except BaseException:
            if opcode == CONTINUATION:
                ws._cut_short()
            raise
    return pending is not None


async def _push(ws: WebSocketCore, opcode: int, fragment: str | bytes, *, fin: bool) -> None:
    """Push a fragment once all that waits for a slow socket has left: it must overtake nothing."""
    outbox = ws.outbox
    while outbox.blocked and outbox.is_open:
        await ws._next_drain()
    if not outbox.is_open:
        raise ws.error_maker()()
    frame = ws._encode_fragment(opcode, fragment, fin=fin)
    outbox.push_fragment(frame, first=opcode != CONTINUATION, fin=fin)
    # Not after the last one: cancelled here, the message would count as one cut short.
    if not fin and (len(frame) >= LARGE_FRAGMENT_BYTES or outbox.is_filling()):
        await asyncio.sleep(0)


async def _each(items: Any) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    elif isinstance(items, Iterable) and not isinstance(items, Mapping):
        for item in items:
            yield item
    else:
        raise TypeError(f"a message is str, bytes or an iterable of them, not {type(items).__name__}")
