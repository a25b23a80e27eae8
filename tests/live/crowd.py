"""Many raw clients in one event loop, cheap enough for the loads that the server must bear."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.live.raw import Frame, frames, upgrade
from tests.live.servers import Site

__all__ = ["Crowd", "Member"]


class Member(asyncio.Protocol):
    """One client. ``data`` is what came behind the handshake and was not taken yet."""

    def __init__(self, path: str) -> None:
        loop = asyncio.get_running_loop()
        self._path = path
        self.transport: Any = None
        self.data = bytearray()
        self.opened: asyncio.Future[None] = loop.create_future()
        #: Resolved when the server has ended TCP.
        self.ended: asyncio.Future[None] = loop.create_future()
        self._needed = 0
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(upgrade(self._path))

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.opened.done():
            head, end, rest = bytes(self.data).partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.data = bytearray(rest)
            self.opened.set_result(None)
        if self._waiter is not None and len(self.data) >= self._needed and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or EOFError("refused"))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(EOFError("the server has gone"))
        if not self.ended.done():
            self.ended.set_result(None)

    async def take(self, size: int) -> bytes:
        """Wait for ``size`` bytes and take them. Raises ``EOFError`` when the server ends before."""
        if len(self.data) < size:
            if self.ended.done():
                raise EOFError("the server has gone")
            self._needed = size
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def take_frames(self) -> list[Frame]:
        """Take the whole frames that are here."""
        whole = frames(self.data)
        del self.data[: sum(each.size for each in whole)]
        return whole


class Crowd:
    """Connects members of one server, and cuts them all when it leaves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._members: list[Member] = []

    async def join(self, path: str, count: int) -> list[Member]:
        joined = await asyncio.gather(*[self._one(path) for _ in range(count)])
        self._members += joined
        return joined

    async def _one(self, path: str) -> Member:
        loop = asyncio.get_running_loop()
        _, member = await loop.create_connection(lambda: Member(path), "127.0.0.1", self._site.port)
        await member.opened
        return member

    async def leave(self) -> None:
        for member in self._members:
            member.transport.abort()
        await asyncio.gather(*[member.ended for member in self._members])
