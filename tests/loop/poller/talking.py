"""Clients made of sockets that talk so often that the poller reads them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastws
from fastws import Handler, Server, WebSocket
from fastws.connection.pausing import SMALL_READS_BEFORE_POLLING
from fastws.testing.wire import TEXT, Frame, frame, handshake, read_frames

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def epolls() -> int:
    folder = Path("/proc/self/fd")
    return sum("eventpoll" in os.readlink(each) for each in folder.iterdir() if each.is_symlink())


class Script(Handler):
    """Echoes, and keeps what it has heard; ``do`` may say what happens at a message."""

    def __init__(self, do: Callable[[WebSocket, str | bytes], object] | None = None) -> None:
        self.do = do
        self.sockets: list[WebSocket] = []
        self.heard: list[str | bytes] = []
        self.ends: list[int] = []

    def on_open(self, ws: WebSocket) -> None:
        self.sockets.append(ws)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.heard.append(message)
        if self.do is None:
            ws.send_nowait(message)
        else:
            self.do(ws, message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self.ends.append(code)


class Talker:
    """A client made of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self._received = b""

    async def write(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def say(self, text: str) -> None:
        await self.write(frame(TEXT, text))

    async def hear(self) -> Frame:
        while True:
            frames, _ = read_frames(self._received)
            if frames:
                self._received = self._received[len(frame(frames[0].opcode, frames[0].payload, mask=None)) :]
                return frames[0]
            data = await self.read()
            assert data, "the server has ended"
            self._received += data

    async def read(self) -> bytes:
        return await self.loop.sock_recv(self.sock, 1 << 16)

    async def echo(self, text: str = "again") -> None:
        await self.say(text)
        assert (await self.hear()).payload == text.encode()


@asynccontextmanager
async def served(handler: Any, **settings: Any) -> AsyncIterator[Server]:
    async with fastws.serve(handler, "127.0.0.1", 0, access_log=False, **settings) as server:
        yield server


@asynccontextmanager
async def talking(server: Server, *, often: bool = True, path: str = "/") -> AsyncIterator[Talker]:
    """A client that has talked so often that the poller reads from it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        talker = Talker(sock)
        await talker.write(handshake(path))
        assert (await talker.read()).startswith(b"HTTP/1.1 101")
        if often:
            for _ in range(SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert not transport_reads(server)[-1]
        yield talker


def transport_reads(server: Server) -> list[bool]:
    """Of each connection, whether its transport reads: it does not while the poller does."""
    return [connection.transport.is_reading() for connection in server.connections]
