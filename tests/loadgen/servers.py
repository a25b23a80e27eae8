"""Small real servers for the generator to meet: one of the websockets package, and one of plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from wsproto.utilities import generate_accept_token

__all__ = ["Chat", "Handler", "accept", "echo", "raw_server", "websockets_server"]

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


class Chat:
    """Every message to everybody, or to the others; ``joined_by`` merges those of one turn of the loop."""

    def __init__(self, *, to_others: bool = False, joined_by: str | None = None, drop_every: int = 0) -> None:
        self._clients: set[ServerConnection] = set()
        self._to_others = to_others
        self._joined_by = joined_by
        self._drop_every = drop_every
        self._waiting: list[str] = []
        self.heard = 0

    async def __call__(self, ws: ServerConnection) -> None:
        self._clients.add(ws)
        try:
            async for message in ws:
                self.heard += 1
                if self._joined_by is not None:
                    self._merge(str(message), self._joined_by)
                elif not self._drop_every or self.heard % self._drop_every:
                    broadcast(self._clients - {ws} if self._to_others else self._clients, message)
        finally:
            self._clients.discard(ws)

    def _merge(self, message: str, separator: str) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(0.002, self._flush, separator)
        self._waiting.append(message)

    def _flush(self, separator: str) -> None:
        broadcast(self._clients, separator.join(self._waiting))
        self._waiting.clear()


@contextmanager
def websockets_server(handler: Handler, **options: Any) -> Iterator[str]:
    """The URL of a server in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    servers: list[Server] = []

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, **{"compression": None, **options}) as server:
            servers.append(server)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert ready.wait(5)
        scheme = "wss" if "ssl" in options else "ws"
        yield f"{scheme}://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}/"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def raw_server(talk: Callable[[socket.socket, int], object]) -> Iterator[str]:
    """Calls ``talk`` with each connection and its number, in a thread each."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threads: list[threading.Thread] = []

    def one(connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(5)
            talk(connection, number)

    def accept_all() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(connection, len(threads))))
                threads[-1].start()

    acceptor = threading.Thread(target=accept_all)
    acceptor.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join()


def accept(connection: socket.socket, extra: bytes = b"", more: bytes = b"") -> bytes:
    """Read the request and answer with the right 101; ``more`` follows it in the same write."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = next(line[18:].strip() for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key:"))
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection:Upgrade \r\n"
        b"sec-websocket-accept: " + generate_accept_token(key) + b"\r\n" + extra + b"\r\n" + more
    )
    return request
