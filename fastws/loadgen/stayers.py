"""Those who stay in a storm, in a process of their own: they publish, and say how late they hear it.

The parent gives a line of JSON, and later ``clear`` and ``report``; it is answered in JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from fastws._version import child_command
from fastws.loadgen.feed_client import Door, FeedClient, command, failures, percentiles, stamped
from fastws.loadgen.plan import LoadgenError
from fastws.loadgen.target import Target

__all__ = ["Crowd", "Stayers", "stayers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who stays, and what they publish: the fields of a ``Storm``."""

    topic: str
    clients: int
    missed: int
    rate: float
    size: int
    calm: float
    insecure: bool


class Stayers:
    """The parent's end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        #: The position behind which those who come back have missed messages.
        self.since = ""

    async def begin(self, crowd: Crowd, target: Target) -> None:
        """Wait until all are there, messages are missed, and the calm is over. Raises LoadgenError."""
        self._write(orjson.dumps({"crowd": asdict(crowd), "target": asdict(target)}))
        self.since = (await self._read())["since"]

    def clear(self) -> None:
        """The storm begins."""
        self._write(b"clear")

    async def report(self) -> dict[str, Any]:
        """The storm is over: return what they have heard before it and meanwhile."""
        self._write(b"report")
        return await self._read()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise LoadgenError("the process of those who stay has ended")
        told: dict[str, Any] = orjson.loads(line)
        if "failure" in told:
            raise LoadgenError(told["failure"])
        return told


@asynccontextmanager
async def stayers(crowd: Crowd, target: Target) -> AsyncIterator[Stayers]:
    """Run them while the block runs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *child_command("fastws.loadgen.stayers"), stdin=pipe, stdout=pipe
    )
    try:
        stay = Stayers(process)
        await stay.begin(crowd, target)
        yield stay
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


class _Crowd:
    """The child's end."""

    def __init__(self, crowd: Crowd, target: Target) -> None:
        self._crowd = crowd
        self._door = Door(target, crowd.topic, insecure=crowd.insecure)
        self._clients: list[FeedClient] = []
        self._before: list[float] = []

    async def begin(self) -> str:
        """Open all clients, and publish what others will have missed; return the position before it."""
        live: asyncio.Queue[FeedClient] = asyncio.Queue()
        self._clients = [
            self._door.client(FeedClient, "", live.put_nowait) for _ in range(self._crowd.clients)
        ]
        await self._door.open(self._clients, live, len(self._clients))
        since = self._clients[0].since
        if not since:
            raise LoadgenError(f"topic {self._crowd.topic!r} keeps no messages: declare it with history=")
        due = time.monotonic()
        for _ in range(self._crowd.missed):
            due = await self._publish(due)
        self._publishing = asyncio.create_task(self._publish_on(due))
        await asyncio.sleep(self._crowd.calm)
        return since

    async def _publish(self, due: float) -> float:
        """Publish a message when it is due; return when the next one is."""
        await asyncio.sleep(due - time.monotonic())
        self._clients[0].say(command(pub=self._crowd.topic, d=stamped(due, self._crowd.size)))
        return due + 1 / self._crowd.rate

    async def _publish_on(self, due: float) -> None:
        while True:
            due = await self._publish(due)

    def clear(self) -> None:
        self._before = self._heard()
        for client in self._clients:
            client.latencies.clear()

    def report(self) -> dict[str, Any]:
        return {
            "before": percentiles(self._before),
            "meanwhile": percentiles(self._heard()),
            "wrong": sum(client.wrong for client in self._clients),
            "errors": failures(self._clients),
        }

    def _heard(self) -> list[float]:
        return [each for client in self._clients for each in client.latencies]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = orjson.loads(await lines.readline())
    crowd = _Crowd(Crowd(**given["crowd"]), Target(**given["target"]))
    try:
        _tell({"since": await crowd.begin()})
    except LoadgenError as error:
        _tell({"failure": str(error)})
        return
    while line := await lines.readline():
        if line.strip() == b"clear":
            crowd.clear()
        else:
            _tell(crowd.report())


def _tell(told: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(_serve())
