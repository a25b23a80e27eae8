"""One end of a connection in memory, with the back-pressure of a real one."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["MemoryTransport"]


class MemoryTransport(asyncio.Transport):
    """A transport whose "socket" takes as many bytes as a test lets it.

    Alone, it is scripted: ``feed``, ``feed_eof`` and ``lose`` say what the peer does, ``sent`` is
    what the socket has taken, and ``room`` how much more it takes (None: everything; ``take`` lets
    some more through). With ``join`` two of them are the ends of one connection, and each holds at
    most ``capacity`` bytes that its protocol has not read.

    As asyncio's: ``write`` tries the socket at once, ``pause_writing`` comes when more than the
    high-water mark is left over, ``resume_writing`` when it is down to the low one, a close sends
    what is left first, an abort does not, and unread bytes turn either into a reset for the peer.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: Any,
        *,
        room: int | None = None,
        capacity: int = 256 * 1024,
        **extra: Any,
    ) -> None:
        super().__init__({"peername": ("192.0.2.1", 50000), "ssl_object": None, "socket": None, **extra})
        self._loop = loop
        self._protocol = protocol
        self._high, self._low = 64 * 1024, 16 * 1024
        self._backlog = bytearray()
        self._incoming = bytearray()
        self._incoming_eof = False
        #: Bytes on their way to this end.
        self._coming = 0
        self._other: MemoryTransport | None = None
        self._capacity = capacity
        #: Bytes that may lie here unread, and how many may still be read; None is no limit.
        self._window = capacity
        self._allowance: int | None = None
        self._reading = True
        self._paused_protocol = False
        self._closing = False
        self._eof = False
        self._eof_done = False
        #: Bytes that the socket still takes; None is no limit. Without meaning once joined.
        self.room = room
        #: What the socket has taken, all of it; only of a scripted transport.
        self.sent = bytearray()
        #: What each ``write`` was given.
        self.writes: list[bytes] = []
        #: True after ``connection_lost``.
        self.lost = False
        #: True when ``abort`` was called.
        self.aborted = False

    def __repr__(self) -> str:
        state = "lost" if self.lost else "closing" if self._closing else "open"
        return f"<MemoryTransport {state}, {len(self._backlog)} bytes wait>"

    def start(self) -> None:
        """Tell the protocol that the connection is made."""
        self._protocol.connection_made(self)

    def join(self, other: MemoryTransport) -> None:
        """Make this and ``other`` the two ends of one connection."""
        self._other, other._other = other, self

    # -- what the peer does ---------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Let ``data`` arrive: it is read at once unless reading is paused."""
        if self._closing:
            return
        self._incoming += data
        self._deliver()

    def feed_eof(self) -> None:
        """Let the peer end its side, behind what it has sent."""
        self._incoming_eof = True
        self._deliver()

    def lose(self, exc: Exception | None = None) -> None:
        """Break the connection: a reset unless ``exc`` says something else."""
        self._incoming.clear()
        self._end(exc or ConnectionResetError("reset by the peer"))

    def take(self, count: int | None = None) -> None:
        """Let the socket take ``count`` bytes more, and everything from now on without it."""
        self.room = None if count is None else (self.room or 0) + count
        self.drain()

    def vanish(self, room: int | None = None) -> None:
        """Let the peer's machine go: the kernel takes ``room`` bytes more, no end is ever seen.

        The default is what it held before: ``capacity``.
        """
        if self._other is not None:
            self._other._other = None
            self._other = None
        self.room = self._capacity if room is None else room

    @property
    def other(self) -> MemoryTransport | None:
        """The end that this one is joined to; None when there is none (any more)."""
        return self._other

    # -- how this end reads, whatever its protocol does -----------------------------------------

    def hold_back(self, room: int) -> None:
        """Read nothing more; ``room`` bytes more may lie here unread. Only of a joined transport."""
        self._window = len(self._incoming) + self._coming + room
        self._allowance = 0

    def allow(self, count: int | None) -> None:
        """Read ``count`` bytes more, or everything from now on."""
        if count is None:
            self._allowance = None
            self._window = self._capacity
        else:
            self._allowance = (self._allowance or 0) + count
        self._deliver()
        if self._other is not None:
            self._loop.call_soon(self._other.drain)

    @property
    def holds_back(self) -> bool:
        """True from ``hold_back`` to ``allow(None)``."""
        return self._allowance is not None

    @property
    def unread(self) -> int:
        """Bytes that have arrived and that the protocol has not read."""
        return len(self._incoming)

    def take_sent(self) -> bytes:
        """Return what the socket has taken since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data

    # -- reading --------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while self._incoming and self._reading and not self._closing and self._allowance != 0:
            self._read_once()
        if (
            self._allowance != 0
            and self._incoming_eof
            and self._reading
            and not self._incoming
            and not self._closing
        ):
            self._incoming_eof = False
            if not self._protocol.eof_received():
                self.close()

    def _takes(self) -> bool:
        return self._reading and not self._closing and self._allowance != 0

    def _read_once(self) -> None:
        # asyncio goes by the class, uvloop by the methods that a protocol has.
        if not hasattr(self._protocol, "data_received"):
            buffer = memoryview(self._protocol.get_buffer(-1))
            count = self._readable(len(buffer))
            buffer[:count] = self._incoming[:count]
            del self._incoming[:count]
            self._protocol.buffer_updated(count)
        else:
            count = self._readable(len(self._incoming))
            data = bytes(self._incoming[:count])
            del self._incoming[:count]
            self._protocol.data_received(data)
        if self._other is not None:
            self._loop.call_soon(self._other.drain)

    def _readable(self, count: int) -> int:
        """How many bytes are read now, ``count`` at most; they are taken from the allowance."""
        count = min(count, len(self._incoming))
        if self._allowance is not None:
            count = min(count, self._allowance)
            self._allowance -= count
        return count

    def pause_reading(self) -> None:
        # As uvloop: asyncio forgives both, so a careful caller does neither.
        if self._closing:
            raise RuntimeError("Cannot pause_reading() when closing")
        self._reading = False

    def resume_reading(self) -> None:
        if self._reading:
            return
        self._reading = True
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    # -- writing --------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.writes.append(bytes(data))
        if not data or (self._closing and not self._backlog):
            return
        self._backlog += data
        self.drain()
        if len(self._backlog) > self._high and not self._paused_protocol:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def send_directly(self, data: bytes) -> int:
        """Take bytes past ``write``, as send(2) on the descriptor would; return how many.

        Raises ``AssertionError`` where that would break the order of what was written.
        """
        assert not self._backlog, "a direct write overtakes what the transport holds"
        assert not self._closing, "a direct write to a descriptor that may be another's by now"
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
        if self._paused_protocol and len(self._backlog) <= self._low:
            self._paused_protocol = False
            self._protocol.resume_writing()
        if self._backlog:
            return
        if self._eof and not self._eof_done:
            self._eof_done = True
            self._to_peer_eof()
        if self._closing:
            self._loop.call_soon(self._call_lost, None)

    def _socket_room(self) -> int:
        if self._other is not None:
            other = self._other
            held = len(other._incoming) + other._coming
            return max(other._window + (other._allowance or 0) - held, 0)
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

    def _to_peer_eof(self) -> None:
        if self._other is not None and not self._other.lost:
            self._loop.call_soon(self._other.feed_eof)

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
        return self._eof

    def write_eof(self) -> None:
        if self._closing or self._eof:
            return
        self._eof = True
        self.drain()

    # -- the end --------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._backlog:
            self._loop.call_soon(self._call_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def _end(self, exc: Exception | None) -> None:
        self._closing = True
        self._backlog.clear()
        self._paused_protocol = False
        self._loop.call_soon(self._call_lost, exc)

    def _call_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        other = self._other
        if other is not None and not other.lost and exc is None:
            # The kernel answers a close over unread bytes with a reset (RFC 1122, section 4.2.2.13).
            if self._incoming:
                self._loop.call_soon(other.lose)
            elif not self._eof_done:
                self._loop.call_soon(other.feed_eof)
        self._protocol.connection_lost(exc)

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol
