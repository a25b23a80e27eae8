"""The reading half of a transport in memory: what has arrived, and how much of it the protocol reads."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["ReadSide"]


class ReadSide(asyncio.Transport):
    """Bytes arrive here; they are read at once unless reading is paused or a test holds it back."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: Any, *, capacity: int, extra: dict[str, Any]
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._incoming = bytearray()
        #: The peer has ended its side behind what is in ``_incoming``.
        self._incoming_eof = False
        #: Bytes that the peer's socket has taken and that have not arrived.
        self._coming = 0
        #: Bytes that may lie here unread by default.
        self._capacity = capacity
        #: Bytes that may lie here unread now.
        self._window = capacity
        #: Bytes that may still be read; None is no limit.
        self._allowance: int | None = None
        self._reading = True

    # -- what the peer does ---------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Let ``data`` arrive: the protocol reads it at once unless reading is paused."""
        if self.is_closing():
            return
        self._incoming += data
        self._deliver()

    def feed_eof(self) -> None:
        """Let the peer end its side, behind what it has sent."""
        self._incoming_eof = True
        self._deliver()

    # -- how this end reads, whatever its protocol does -----------------------------------------

    def hold_back(self, room: int) -> None:
        """Read nothing more.

        Args:
            room: Bytes more that may lie here unread. It counts only for a joined transport.
        """
        self._window = len(self._incoming) + self._coming + room
        self._allowance = 0

    def allow(self, count: int | None) -> None:
        """Read ``count`` bytes more; None: everything from now on."""
        if count is None:
            self._allowance = None
            self._window = self._capacity
        else:
            self._allowance = (self._allowance or 0) + count
        self._deliver()
        self._made_room()

    @property
    def holds_back(self) -> bool:
        """True from ``hold_back`` to ``allow(None)``."""
        return self._allowance is not None

    @property
    def unread(self) -> int:
        """Bytes that have arrived and that the protocol has not read."""
        return len(self._incoming)

    def _room(self) -> int:
        """Bytes that the peer's socket may send now."""
        held = len(self._incoming) + self._coming
        return max(self._window + (self._allowance or 0) - held, 0)

    def _made_room(self) -> None:
        """Bytes were read: the peer's socket may take more."""

    # -- reading --------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while self._incoming and self._takes():
            self._read_once()
        if self._incoming_eof and not self._incoming and self._takes():
            self._incoming_eof = False
            if not self._protocol.eof_received():
                self.close()

    def _takes(self) -> bool:
        return self._reading and not self.is_closing() and self._allowance != 0

    def _read_once(self) -> None:
        # asyncio goes by the protocol's class, uvloop by its methods; so does this.
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
        self._made_room()

    def _readable(self, count: int) -> int:
        """Return how many bytes are read now, ``count`` at most; take them from the allowance."""
        count = min(count, len(self._incoming))
        if self._allowance is not None:
            count = min(count, self._allowance)
            self._allowance -= count
        return count

    def pause_reading(self) -> None:
        # As uvloop. asyncio forgives this call, so only a strict transport finds it.
        if self.is_closing():
            raise RuntimeError("Cannot pause_reading() when closing")
        self._reading = False

    def resume_reading(self) -> None:
        if self._reading:
            return
        self._reading = True
        self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading and not self.is_closing()

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol
