"""A TCP proxy that cuts its lines, or lets them go silent."""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["Cutter"]


class Cutter:
    """Stands before a server: ``url`` leads through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._path = parts.path
        self._scheme = parts.scheme
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Lines that are dead: what comes is swallowed.
        self._silent: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        #: How many connections have come.
        self.connections = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{self._path}"

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """End all lines, in the middle of what they carry."""
        for writer in list(self._writers):
            writer.transport.abort()

    def silence(self) -> None:
        """Let all lines that there are now carry nothing any more, and say nothing of it."""
        self._silent |= self._writers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        other = None
        try:
            from_server, other = await asyncio.open_connection(*self._target)
            self._writers |= {writer, other}
            await asyncio.gather(self._carry(reader, other), self._carry(from_server, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    self._silent.discard(each)
                    each.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer not in self._silent:
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
