# cython: annotation_typing=False
"""What all connections of one event loop share."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastws.config import Compression
from fastws.loop.admissions import Admissions
from fastws.loop.native import receive_many
from fastws.loop.poller import Poller
from fastws.loop.timers import Wheel
from fastws.loop.turn import Turn
from fastws.loop.wakeups import Wakeups
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.protocol.websocket.frames import ENGINE, random_mask

__all__ = ["READ_BUFFER_BYTES", "LoopState", "is_uvloop", "loop_state_of"]

#: Bytes that one read brings at most. All connections share one such buffer: one each would cost 67 KB and
#: the page faults. The engine in Python takes 9 µs for a frame of 6 bytes, so it is given less at a time.
READ_BUFFER_BYTES = 256 * 1024 if ENGINE == "c" else 16 * 1024


def is_uvloop(loop: object) -> bool:
    """Return whether ``loop`` is uvloop's, or of a class that inherits it."""
    return any(base.__module__.partition(".")[0] == "uvloop" for base in type(loop).__mro__)


class ReadBuffer:
    """The buffer for all reads of a loop; ``get`` serves as the ``get_buffer`` of every protocol."""

    __slots__ = ("view",)

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))

    def get(self, sizehint: int) -> memoryview:
        return self.view


class LoopState:
    """One per event loop, made when it is first asked for. Only that loop's thread may use it."""

    __slots__ = (
        "admissions",
        "call_soon",
        "clock",
        "create_future",
        "deflate_pools",
        "get_buffer",
        "meters",
        "poller",
        "random_mask",
        "read_buffer",
        "reads_into_buffer",
        "turn",
        "uses_sockets",
        "wakeups",
        "wheel",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.call_soon = loop.call_soon
        #: Seconds, for measuring: ``wheel.time``, the loop's own clock, stands still within a turn on uvloop.
        self.clock = time.monotonic
        self.create_future = loop.create_future
        self.turn = Turn(loop.call_soon)
        #: Which handshakes are answered in this turn.
        self.admissions = Admissions(loop.call_soon)
        #: Resumes the coroutines that wait for messages.
        self.wakeups = Wakeups(loop)
        #: The timers of all connections.
        self.wheel = Wheel(loop.call_at, loop.time)
        self.read_buffer = ReadBuffer(READ_BUFFER_BYTES)
        #: Bound once, for all connections.
        self.get_buffer = self.read_buffer.get
        #: True on uvloop, which looks for a protocol's methods and finds ``get_buffer``. asyncio asks for the
        #: class ``BufferedProtocol``, which a compiled class cannot inherit. Any other loop gets what each
        #: ``asyncio.Protocol`` has, ``data_received``; a loop may say of itself that it does as uvloop.
        self.reads_into_buffer = is_uvloop(loop) or getattr(loop, "reads_into_buffer", False)
        #: True where sockets may be read and written beside their transports. Of a loop that we do not know
        #: nobody can say what its transports hold.
        self.uses_sockets = self.reads_into_buffer or isinstance(loop, asyncio.BaseEventLoop)
        self.poller: Poller | None = None
        #: Four fresh random bytes: the masking key of each frame of a client (RFC 6455, section 5.3).
        self.random_mask = random_mask
        self.deflate_pools: dict[Compression, DeflatePool] = {}
        #: What measures here (:mod:`fastws.meters`); None: nobody does.
        self.meters: Any = None

    def poller_or_none(self) -> Poller | None:
        """Return the loop's poller, made when it is first asked for; None where there cannot be one."""
        if self.poller is None and receive_many is not None:
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


#: The attribute of a loop that holds its state: a mapping beside the loop would keep it alive.
LOOP_ATTRIBUTE = "_fastws_loop_state"


def loop_state_of(loop: asyncio.AbstractEventLoop) -> LoopState:
    """Return the shared state of ``loop``; only that loop's thread may ask."""
    state: LoopState | None = getattr(loop, LOOP_ATTRIBUTE, None)
    if state is None:
        state = LoopState(loop)
        setattr(loop, LOOP_ATTRIBUTE, state)
    return state
