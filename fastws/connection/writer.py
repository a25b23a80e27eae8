# cython: annotation_typing=False
"""What one connection sends in a turn of the loop, and its way to the socket: one write.

*Blocked* means that the socket has refused bytes. With a high-water mark of 0 the transport calls
``pause_writing`` as soon as it holds something that the socket did not take.
"""

from __future__ import annotations

import logging
from typing import Any

from fastws.connection.counters import UNCOUNTED
from fastws.loop.native import Item, send_items
from fastws.loop.turn import Turn, Writable
from fastws.protocol.websocket.frames import Opcode, encode

__all__ = ["Writer", "frame_of"]

log = logging.getLogger("fastws.error")

#: Bytes of an answer that leaves at once: while it waited for others, it would leave the processor's cache.
LARGE_ANSWER = 4096
#: Messages of one turn after which a coroutine that sends lets the turn end.
TURN_MESSAGES = 64

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Writer(Writable):
    """The lower half of an outbox. ``fd`` is -1 where only the transport may write.

    What leaves in the next write is ``_first``, or ``_more`` where it is more than one item.
    """

    __slots__ = (
        "_first",
        "_more",
        "_transport",
        "blocked",
        "corked",
        "counters",
        "fd",
        "is_open",
        "sent_bytes",
        "turn",
    )

    def __init__(self, transport: Any, turn: Turn, fd: int) -> None:
        self._transport = transport
        self.turn = turn
        self.fd = fd
        self.is_open = True
        self.corked = False
        self.blocked = False
        self._first: Item | None = None
        self._more: list[Item] | None = None
        self.sent_bytes = 0
        #: Those of the server, while the WebSocket is open.
        self.counters = UNCOUNTED

    # -- what leaves in one write ---------------------------------------------------------------

    def begin_batch(self) -> bool:
        """Collect what is sent from now on into one write. True for the caller that has to end this batch."""
        began = not self.corked
        self.corked = True
        return began

    def end_batch(self) -> None:
        """Write the batch now."""
        self.corked = False
        self.flush()

    def answer(self) -> None:
        """End the batch of one read: it leaves together with the answers to other reads."""
        self.corked = False
        if self._first is not None:
            self.turn.answer(self)

    def write_http(self, data: bytes) -> None:
        """Take bytes of HTTP, which are no message, and which no limit of the backlog holds back."""
        if not self.is_open:
            return
        if self.blocked:
            self._transport.write(data)  # behind what the transport holds
        else:
            self._append_frame(data)

    def _append_frame(self, frame: bytes) -> None:
        self._append((frame,))

    def _append(self, item: Item) -> None:
        if self._first is None:
            if not self.corked:
                self.turn.schedule(self)  # may raise, and nothing has been taken then
            self._first = item
        elif self._more is None:
            self._more = [self._first, item]
        else:
            self._more.append(item)

    def is_large(self) -> bool:
        """True when the first message of this turn is a large one."""
        first = self._first
        assert first is not None
        return len(first[0] if isinstance(first, tuple) else first) >= LARGE_ANSWER

    def is_filling(self) -> bool:
        """True when so much is sent to this client in this turn that the turn should end."""
        return self._more is not None and len(self._more) >= TURN_MESSAGES

    def unwritten(self) -> int:
        """Bytes of this turn that the transport has not been given yet."""
        if self._first is None:
            return 0
        if self._more is None:
            return _size(self._first)
        return sum(map(_size, self._more))

    # -- to the socket --------------------------------------------------------------------------

    def flush(self) -> None:
        """Write everything of this turn, in one write."""
        first = self._first
        if first is None:
            return
        more = self._more
        self._first = self._more = None
        self._write(first if more is None else more)

    def flush_later(self) -> None:
        """Flush at the end of a turn: meanwhile the transport may have begun to close (``is_idle``)."""
        if self._transport.is_closing():
            self._first = self._more = None
            return
        try:
            self.flush()
        except Exception:
            self._broken()

    def _write(self, items: Item | list[Item]) -> None:
        """Write one item or several: straight to the socket where that may be done and holds nothing."""
        if self.fd < 0 or self.blocked:
            data = b"".join([frame_of(item) for item in (items if isinstance(items, list) else [items])])
            self._count_bytes(len(data))
            self._transport.write(data)
            return
        assert send_items is not None  # fd is -1 without it
        result = send_items(self.fd, items)
        if isinstance(result, int):
            self._count_bytes(result)
        else:
            size, taken, rest = result
            self._count_bytes(size)
            self.wrote(taken, rest)

    def _count_bytes(self, size: int) -> None:
        """Count what is written. The answer to the handshake does not count; it is in the first write."""
        before = self.sent_bytes
        self.sent_bytes = before + size
        self.counters.row.bytes_sent += size if before >= 0 else before + size

    def wrote(self, taken: int, rest: bytes | memoryview) -> None:
        """Continue after a direct write that took less than everything (negative: an errno)."""
        if taken < 0:
            self.discard()
            self._transport.abort()
        else:
            self._transport.write(rest)

    def write_through(self, data: bytes) -> None:
        """Write what many are given, where only the transport may."""
        try:
            self._transport.write(data)
        except Exception:
            self._broken()

    def _broken(self) -> None:
        """A foreign transport has raised: that ends its connection, and no other's turn."""
        log.exception("writing to %r failed", self._transport)
        self.discard()
        self._transport.abort()

    def discard(self) -> None:
        """Forget everything: the connection is lost."""
        self.is_open = False
        self.fd = -1
        self._first = None
        self._more = None


def _size(item: Item) -> int:
    """The bytes of an item on the wire (RFC 6455, section 5.2); a ``str`` is ASCII."""
    if isinstance(item, tuple):
        return len(item[0]) if len(item) == 1 else _size(item[0]) + 4
    size = len(item)
    return size + (2 if size <= 125 else 4 if size <= 0xFFFF else 10)


def frame_of(item: Item) -> bytes:
    """Return an item as it is on the wire."""
    mask = None
    if isinstance(item, tuple):
        if len(item) == 1:
            return item[0]
        item, mask = item
    return encode(TEXT if isinstance(item, str) else BINARY, item, mask)
