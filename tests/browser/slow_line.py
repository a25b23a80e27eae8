"""A TCP proxy whose WebSockets carry so many bytes a second to the client, or nothing for a while."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["SlowLine"]

#: Bytes that the kernel may hold on each part of the way: more would be a queue that nobody has on purpose.
BUFFER = 8192
STEP_SECONDS = 0.05


class SlowLine:
    """Stands before a server, in a thread of its own: ``url`` leads through it.

    Args:
        url: That of the server.
        rate: Bytes a second of a connection, to its client, once it is a WebSocket. None: as they come.
    """

    def __init__(self, url: str, rate: int | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self.rate = rate
        #: True while nothing is carried.
        self.stalls = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> SlowLine:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", limit=BUFFER)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._ended.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        small(writer.get_extra_info("socket"))
        upward = socket.create_connection(self._target)
        small(upward)
        from_server, to_server = await asyncio.open_connection(sock=upward, limit=BUFFER)
        writer.transport.set_write_buffer_limits(0)
        try:
            await asyncio.gather(self._carry(reader, to_server), self._slowly(from_server, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            to_server.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(BUFFER)
        is_slow = b" 101 " in data.partition(b"\r\n")[0]
        while data:
            writer.write(data)
            await writer.drain()
            size = BUFFER
            if is_slow:
                while self.stalls:
                    await asyncio.sleep(STEP_SECONDS)
                if self.rate is not None:
                    await asyncio.sleep(STEP_SECONDS)
                    size = round(self.rate * STEP_SECONDS)
            data = await reader.read(size)
        writer.transport.abort()


def small(sock: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
