"""Clients of a server on the same loop, whose rounds callgrind counts. What ``paths.py`` has in common.

It imports nothing of fastws, whose clock is replaced first.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import zlib
from collections.abc import Callable

__all__ = [
    "BUFFER", "CLOSE", "COMPRESSED", "CONTINUATION", "FIN", "MARK", "TEXT", "Ends", "Rounds", "connect",
    "deflated", "frame", "opened", "unconnected", "upgrade",
]  # fmt: skip

MASK = b"\x12\x34\x56\x78"
TEXT, CONTINUATION, CLOSE, FIN, COMPRESSED = 1, 0, 8, 0x80, 0x40
#: A recv of its own would ask malloc(3) for as much each time.
BUFFER = bytearray(65536)
#: What is called before and after what counts.
MARK: list[Callable[[], object]] = [os.getppid]


def upgrade(path: str, extensions: str = "") -> bytes:
    """A browser's request."""
    offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9999\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        "Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
        f"Sec-WebSocket-Version: 13\r\nOrigin: http://127.0.0.1:9999\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: keep-alive, Upgrade\r\n"
        "Pragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n"
    ).encode()


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame, by its first byte."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126, size >> 8, size & 0xFF])
    return bytes([first]) + length + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(payload))


def deflated(text: str) -> bytes:
    """A message's payload under permessage-deflate."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    return (compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unconnected(receive_buffer: int = 1 << 20) -> socket.socket:
    """A socket; by default with room for all that one is sent before it is read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    return sock


def connect(sock: socket.socket, port: int, request: bytes) -> None:
    """Send a request; nothing here waits for the server."""
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    sock.send(request)


async def opened(
    number: int, port: int, request: bytes, *, receive_buffer: int = 1 << 20
) -> list[socket.socket]:
    """Clients that have been answered by 101; what follows that at once is read too."""
    loop, socks = asyncio.get_running_loop(), []
    for _ in range(number):
        connect(sock := unconnected(receive_buffer), port, request)
        answer = await loop.sock_recv(sock, 4096)
        assert answer.startswith(b"HTTP/1.1 101 ") and b"\r\n\r\n" in answer, answer
        socks.append(sock)
    return socks


class Rounds:
    """Begins a round when the one before has been heard, by callbacks: a task would cost as much as an echo.

    Of ``socks`` the last one is waited for, until ``size`` bytes have come to it. Those of the others are
    read after each run, and have to be as many. In the end all are closed.
    """

    def __init__(self, socks: list[socket.socket], size: int, begin: Callable[[], object]) -> None:
        self.socks, self.others, self.size, self.begin = socks, socks[:-1], size, begin
        self._loop = asyncio.get_running_loop()
        # One reader of the loop for all, so that to wait for another socket costs next to nothing.
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._readable)
        self._missing = 0
        if socks:
            self.listen_to(socks[-1])

    def listen_to(self, sock: socket.socket) -> None:
        self.sock = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _readable(self) -> None:
        got = self.sock.recv_into(BUFFER)
        self._missing -= got
        if self._missing <= 0 or not got:
            self._next()

    def _next(self) -> None:
        if self._left and not self._missing:
            self._left -= 1
            self._missing = self.size
            self.begin()
            return
        if self._counts:
            MARK[0]()
        if self._missing:
            self._over.set_exception(AssertionError(f"{self._missing} bytes are missing"))
        else:
            self._over.set_result(None)

    async def run(self, rounds: int, *, counts: bool = False) -> None:
        self._left, self._counts, self._over = rounds, counts, self._loop.create_future()
        if counts:
            MARK[0]()
        self._next()
        await self._over
        for sock in self.others:
            missing = rounds * self.size
            while missing:
                try:
                    missing -= (got := sock.recv_into(BUFFER, missing))
                    assert got
                except BlockingIOError:
                    await asyncio.sleep(0)

    async def count(self, rounds: int) -> None:
        await self.run(rounds)
        await self.run(rounds, counts=True)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for sock in self.socks:
            sock.close()


class Ends(Rounds):
    """What is waited for is the end of TCP."""

    def _readable(self) -> None:
        if not self.sock.recv_into(BUFFER):
            self.sock.close()
            self._next()
