"""Clients of all workers, and what the logs of a server say of the workers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import fastws
from tests.cli.helpers import Child, running
from tests.workers.processes import READY

LIMIT_SECONDS = 150
#: An application: a client is told its worker, then hears what it says.
ECHO_APP = """
import os
import fastws

class Echo(fastws.Handler):
    __slots__ = ()
    def on_open(self, ws):
        ws.send_nowait(str(os.getpid()))
    def on_message(self, ws, message):
        ws.send_nowait(message)

routes = [fastws.Route("/", Echo())]
"""
#: Enough clients that each of 2 or 3 workers has some: the acceptor allows a difference of 9.
CLIENTS = 30


def limited(test: Callable[[], Awaitable[None]]) -> None:
    """Run what a test does to its end."""

    async def run() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await test()

    asyncio.run(run())


def besieged(folder: Path, siege: Callable[[Child], Awaitable[None]], *options: object) -> None:
    """Run a siege of ``fastws serve`` with these options; then it stops, and has written no traceback."""
    with running(folder, "serve", *options) as server:
        limited(lambda: siege(server))
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


async def until(happened: Callable[[], object]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


def url_of(server: Child, path: str) -> str:
    return server.address().replace("http", "ws", 1) + path


def ready(server: Child) -> list[int]:
    return [int(pid) for pid in READY.findall(server.stderr())]


def said(server: Child, text: str, times: int) -> bool:
    return server.stderr().count(text) >= times


def labels(server: Child) -> dict[int, str]:
    """By process: the number of each worker that has become ready, as the access log names it."""
    found = re.findall(r"worker (\d+) \(pid (\d+)\) is ready", server.stderr())
    return {int(pid): number for number, pid in found}


def access_lines(server: Child) -> list[tuple[str, str]]:
    """The worker of each line of the access log, and the close code in it."""
    return re.findall(r"^\S+ \S+ \[(\d+)\] .* closed (\d+) ", server.stdout(), re.MULTILINE)


class Client:
    """One client, the process that serves it, and what it hears from others."""

    def __init__(self, ws: fastws.WebSocket, worker: int) -> None:
        self.ws = ws
        self.worker = worker
        self.heard: list[tuple[int, int]] = []
        self.seen: set[tuple[int, int]] = set()
        self.changed = asyncio.Event()

    @classmethod
    async def connect(cls, url: str, *, greetings: int = 1, ssl: ssl.SSLContext | None = None) -> Client:
        ws = await fastws.connect(url, ssl=ssl)
        words = [str(await ws.recv()) for _ in range(greetings)]
        return cls(ws, int(words[0]))

    async def listen(self) -> None:
        """Hear what comes, until the end of the connection."""
        with contextlib.suppress(fastws.ConnectionClosed):
            async for message in self.ws:
                sender, number = str(message).split()
                self.heard.append((int(sender), int(number)))
                self.seen.add(self.heard[-1])
                self.changed.set()

    async def wait(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self.changed.clear()
            await self.changed.wait()

    def has_heard(self, sender: int, number: int) -> bool:
        return (sender, number) in self.seen

    def has_heard_any(self, count: int) -> bool:
        return len(self.heard) >= count

    def has_heard_all(self, senders: Iterable[int], count: int) -> bool:
        return all(len(self.of(sender)) >= count for sender in senders)

    def of(self, sender: int) -> list[int]:
        return [number for each, number in self.heard if each == sender]


async def connected(url: str, count: int, *, greetings: int = 1) -> list[Client]:
    return [await Client.connect(url, greetings=greetings) for _ in range(count)]
