# cython: annotation_typing=False
"""What all connections of one event loop share."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastws.config import Compression
from fastws.loop.native import receive_many
from fastws.loop.timers import Wheel
from fastws.loop.turn import Turn
from fastws.loop.wakeups import Wakeups
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.protocol.websocket.frames import ENGINE, random_mask

__all__ = ["LoopState", "loop_state_of"]

#: Bytes of one read. Connections share this buffer: one each would cost 67 KB and the page faults.
#: The interpreted engine takes 9 us for a frame of 6 bytes, so that it is given less at a time.
BUFFER_SIZE = 256 * 1024 if ENGINE == "c" else 16 * 1024


class ReadBuffer:
    """One buffer for all reads of a loop; ``get`` serves as the ``get_buffer`` of every protocol."""

    __slots__ = ("view",)

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))

    def get(self, sizehint: int) -> memoryview:
        return self.view


class LoopState:
    """One per event loop, made when it is first asked for."""

    __slots__ = (
        "call_soon",
        "clock",
        "create_future",
        "deflate_pools",
        "get_buffer",
        "mask",
        "poller",
        "read_buffer",
        "reads_into_buffer",
        "turn",
        "wakeups",
        "wheel",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_soon = loop.call_soon
        #: For measuring; the loop's own clock stands still within a turn on uvloop.
        self.clock = time.monotonic
        self.create_future = loop.create_future
        self.turn = Turn(loop.call_soon)
        #: Those that wait for messages.
        self.wakeups = Wakeups(loop)
        self.wheel = Wheel(loop.call_at, loop.time)
        self.read_buffer = ReadBuffer(BUFFER_SIZE)
        #: Bound once, for all connections.
        self.get_buffer = self.read_buffer.get
        #: uvloop goes by a protocol's methods, asyncio by its class, which is not BufferedProtocol.
        self.reads_into_buffer = not isinstance(loop, asyncio.BaseEventLoop)
        self.poller: Any = None
        #: Four fresh bytes for each frame of a client (RFC 6455, section 5.3).
        self.mask = random_mask
        self.deflate_pools: dict[Compression, DeflatePool] = {}

    def the_poller(self) -> Any:
        """Return the loop's poller, made when it is first asked for; None where there cannot be one."""
        if self.poller is None and receive_many is not None:
            # Here, for its compiled build needs that of the connection, which needs this module.
            from fastws.loop.poller import Poller

            self.poller = Poller(asyncio.get_running_loop(), self.turn, self.wakeups, self.read_buffer.view)
        return self.poller

    def deflate_pool(self, compression: Compression | None) -> DeflatePool | None:
        """Return what all connections of this loop with these settings share."""
        if compression is None:
            return None
        pool = self.deflate_pools.get(compression)
        if pool is None:
            self.deflate_pools[compression] = pool = DeflatePool(compression)
        return pool


#: The attribute of a loop that holds its state: a mapping beside it would keep the loop alive.
ATTRIBUTE = "_fastws_loop_state"


def loop_state_of(loop: asyncio.AbstractEventLoop) -> LoopState:
    """Return the shared state of ``loop``; only that loop's thread may ask."""
    state: LoopState | None = getattr(loop, ATTRIBUTE, None)
    if state is None:
        state = LoopState(loop)
        setattr(loop, ATTRIBUTE, state)
    return state
