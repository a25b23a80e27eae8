"""A TCP proxy that cuts its connections at random."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from typing import cast

__all__ = ["CuttingProxy"]

#: SO_LINGER of no time: the end is a reset (socket(7)).
NO_LINGER = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One end of a connection through the proxy; what comes goes to the other one."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is of a class of its own
        for data in self._early:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def cut(self, *, reset: bool) -> None:
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if reset and sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()


class CuttingProxy:
    """Lets connections to ``port`` live for ``shortest`` to ``longest`` seconds each."""

    def __init__(self, port: int, chance: random.Random, shortest: float, longest: float) -> None:
        self._target = port
        self._chance = chance
        self._life = (shortest, longest)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cutting = True
        self.port = 0
        self.cuts = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> End:
        front = End()
        task = asyncio.get_running_loop().create_task(self._serve(front))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return front

    async def _serve(self, front: End) -> None:
        loop = asyncio.get_running_loop()
        back = End(front)
        front.other = back
        try:
            await loop.create_connection(lambda: back, "127.0.0.1", self._target)
        except OSError:
            front.cut(reset=True)
            return
        await asyncio.sleep(self._chance.uniform(*self._life))
        if self._is_cutting and front.transport is not None and not front.transport.is_closing():
            self.cuts += 1
            reset = self._chance.random() < 0.5
            for end in (front, back):
                end.cut(reset=reset)

    def stop_cutting(self) -> None:
        self._is_cutting = False

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
