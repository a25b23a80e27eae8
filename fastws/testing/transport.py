"""One end of a connection in memory, with the back-pressure of a real one."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

from fastws.testing.read_side import ReadSide

__all__ = ["MemoryTransport"]

#: Bytes that an end holds unread, where a test does not say otherwise.
CAPACITY = 256 * 1024


class Life(Enum):
    """How far a transport is from its end."""

    OPEN = "open"
    #: ``close`` or ``abort`` was called; after a close, what is left is still sent.
    CLOSING = "closing"
    #: ``connection_lost`` was called.
    LOST = "lost"


class WriteEnd(Enum):
    """How far ``write_eof`` has come."""

    NONE = "not called"
    WAITING = "called; bytes before it still wait"
    SENT = "the peer is told"


class MemoryTransport(ReadSide):
    """A transport whose "socket" takes as many bytes as a test lets it.

    Alone, it is scripted: ``feed``, ``feed_eof`` and ``lose`` are what the peer does, ``sent`` is what the
    socket has taken, and ``room`` how much more it takes (``take`` lets some more through). With ``join``
    two of them are the ends of one connection, and each holds at most ``capacity`` bytes that its protocol
    has not read.

    It behaves as asyncio's: ``write`` tries the socket at once, ``pause_writing`` comes when more than the
    high-water mark is left over, ``resume_writing`` when it is down to the low one. A close sends what is
    left first, an abort does not, and either becomes a reset for the peer where bytes lie here unread. Use
    it only in the thread of its loop.

    Args:
        loop: The loop that runs the callbacks.
        protocol: What the transport reports to.
        room: Bytes that the socket takes before it refuses. Default None: everything.
        capacity: Bytes that lie here unread before the peer's socket refuses. Default 256 KiB.
        extra: What ``get_extra_info`` returns: ``peername``, ``ssl_object``, ``socket`` and others.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Any,
        *,
        room: int | None = None,
        capacity: int = CAPACITY,
        **extra: Any,
    ) -> None:
        known = {"peername": ("192.0.2.1", 50000), "ssl_object": None, "socket": None, **extra}
        super().__init__(loop, protocol, capacity=capacity, extra=known)
        self._high, self._low = 64 * 1024, 16 * 1024
        self._backlog = bytearray()
        self._other: MemoryTransport | None = None
        self._writing_paused = False
        self._life = Life.OPEN
        self._write_end = WriteEnd.NONE
        #: Bytes that the socket still takes; None is no limit. Without meaning once joined.
        self.room = room
        #: What the socket has taken, all of it; only of a scripted transport.
        self.sent = bytearray()
        #: What each ``write`` was given.
        self.writes: list[bytes] = []
        #: True when ``abort`` was called.
        self.aborted = False

    def __repr__(self) -> str:
        return f"<MemoryTransport {self._life.value}, {len(self._backlog)} bytes wait>"

    def start(self) -> None:
        """Tell the protocol that the connection is made."""
        self._protocol.connection_made(self)

    def join(self, other: MemoryTransport) -> None:
        """Make this and ``other`` the two ends of one connection."""
        self._other, other._other = other, self

    @property
    def other(self) -> MemoryTransport | None:
        """The end that this one is joined to; None when there is none (any more)."""
        return self._other

    @property
    def lost(self) -> bool:
        """True after ``connection_lost``."""
        return self._life is Life.LOST

    # -- what the peer does ---------------------------------------------------------------------

    def lose(self, exc: Exception | None = None) -> None:
        """Break the connection.

        Args:
            exc: What ``connection_lost`` is given. Default: a ``ConnectionResetError``.
        """
        self._incoming.clear()
        self._end(exc or ConnectionResetError("reset by the peer"))

    def take(self, count: int | None = None) -> None:
        """Let the socket take ``count`` bytes more; without it, everything from now on."""
        self.room = None if count is None else (self.room or 0) + count
        self.drain()

    def vanish(self, room: int | None = None) -> None:
        """Let the peer's machine go: no data and no end come any more.

        Args:
            room: Bytes that the kernel still takes. Default: ``capacity``.
        """
        if self._other is not None:
            self._other._other = None
            self._other = None
        self.room = self._capacity if room is None else room

    def take_sent(self) -> bytes:
        """Return what the socket has taken since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data

    # -- writing --------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.writes.append(bytes(data))
        if not data or (self.is_closing() and not self._backlog):
            return
        self._backlog += data
        self.drain()
        if len(self._backlog) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def send_directly(self, data: bytes) -> int:
        """Take bytes past ``write``, as send(2) on the descriptor would; return how many.

        Raises:
            AssertionError: Something written before still waits, or the transport is closing.
        """
        assert not self._backlog, "a direct write overtakes what the transport holds"
        assert not self.is_closing(), "a direct write to a descriptor that may be another's by now"
        self.writes.append(data)
        taken = data[: self._socket_room()] if self.room is not None or self._other is not None else data
        if taken:
            self._to_socket(taken)
        return len(taken)

    def drain(self) -> None:
        """Let the socket take what it can of what waits."""
        if self.lost:
            return
        count = self._socket_room()
        if count and self._backlog:
            data = bytes(self._backlog[:count])
            del self._backlog[:count]
            self._to_socket(data)
        if self._writing_paused and len(self._backlog) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._backlog:
            return
        if self._write_end is WriteEnd.WAITING:
            self._write_end = WriteEnd.SENT
            if self._other is not None and not self._other.lost:
                self._loop.call_soon(self._other.feed_eof)
        if self.is_closing():
            self._loop.call_soon(self._call_lost, None)

    def _made_room(self) -> None:
        if self._other is not None:
            self._loop.call_soon(self._other.drain)

    def _socket_room(self) -> int:
        if self._other is not None:
            return self._other._room()
        return len(self._backlog) if self.room is None else self.room

    def _to_socket(self, data: bytes) -> None:
        if self._other is not None:
            self._other._coming += len(data)
            self._loop.call_soon(self._arrive, self._other, data)
            return
        if self.room is not None:
            self.room -= len(data)
        self.sent += data

    def _arrive(self, other: MemoryTransport, data: bytes) -> None:
        other._coming -= len(data)
        if other.lost:
            self.lose()
        else:
            other.feed(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._backlog)

    def can_write_eof(self) -> bool:
        return self.get_extra_info("ssl_object") is None

    @property
    def eof_written(self) -> bool:
        """True when this side has ended its half of the connection."""
        return self._write_end is not WriteEnd.NONE

    def write_eof(self) -> None:
        if self.is_closing() or self.eof_written:
            return
        self._write_end = WriteEnd.WAITING
        self.drain()

    # -- the end --------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._life is not Life.OPEN

    def close(self) -> None:
        if self.is_closing():
            return
        self._life = Life.CLOSING
        if not self._backlog:
            self._loop.call_soon(self._call_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def _end(self, exc: Exception | None) -> None:
        if self._life is Life.OPEN:
            self._life = Life.CLOSING
        self._backlog.clear()
        self._writing_paused = False
        self._loop.call_soon(self._call_lost, exc)

    def _call_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self._life = Life.LOST
        other = self._other
        if other is not None and not other.lost and exc is None:
            # The kernel answers a close over unread bytes with a reset (RFC 1122, section 4.2.2.13).
            if self.unread:
                self._loop.call_soon(other.lose)
            elif self._write_end is not WriteEnd.SENT:
                self._loop.call_soon(other.feed_eof)
        self._protocol.connection_lost(exc)
