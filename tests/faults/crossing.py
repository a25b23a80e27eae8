"""How long a message takes from one node to another, beside what the broker's own library needs for it.

``python -m tests.faults.crossing URL`` is the far node. It says ``ready`` when it hears everything, and at
the end of its input prints the nanoseconds that each message took, by kind, as JSON. Each message says of
which kind it is, and when it was sent, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastws
from fastws.loop.event_loops import loop_factory
from fastws.testing import pair
from fastws.testing.conformance import Heard
from tests.cli.helpers import environment

__all__ = ["BARE", "HISTORY", "PLAIN", "STORED", "measure"]

#: What a message is published to: to a channel, and to a stream that stores it, by the library alone; to a
#: plain topic, and to one with a history.
BARE, STORED, PLAIN, HISTORY = "bare", "stored", "plain", "history"
#: Publishes by the library, by kind.
Library = dict[str, Callable[[bytes], Awaitable[object]]]
Note = Callable[[bytes], None]
#: Seconds between two messages.
PAUSE = 0.002


def measure(url: str, rounds: int) -> dict[str, list[int]]:
    """Publish so many messages of each kind in turn; return how long they took, in nanoseconds."""
    command = [sys.executable, "-m", "tests.faults.crossing", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment(), **pipes) as far:
        assert far.stdin is not None and far.stdout is not None
        assert far.stdout.readline() == "ready\n", "the far node has ended"
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(publish(url, rounds))
        far.stdin.close()
        took: dict[str, list[int]] = json.loads(far.stdout.readline())
    return took


async def publish(url: str, rounds: int) -> None:
    async with node(url) as hub, library(url, None) as bare:
        await hub.publish_confirmed(HISTORY, "warm")
        for _ in range(rounds):
            for kind, send in bare.items():
                await send(stamped(kind))
                await asyncio.sleep(PAUSE)
            for kind in (PLAIN, HISTORY):
                hub.publish(kind, stamped(kind).decode())
                await asyncio.sleep(PAUSE)
        await asyncio.sleep(0.5)


def stamped(kind: str) -> bytes:
    return f"{kind} {time.monotonic_ns()}".encode()


def node(url: str) -> fastws.Hub:
    hub = fastws.Hub(broker=url)
    hub.topic(HISTORY, history=1000)
    return hub


@asynccontextmanager
async def library(url: str, note: Note | None) -> AsyncIterator[Library]:
    """Publish, or hear, by the broker's own library as its manual shows it."""
    async with (nats if url.startswith("nats") else redis)(url, note) as found:
        yield found


@asynccontextmanager
async def redis(url: str, note: Note | None) -> AsyncIterator[Library]:
    from redis.asyncio import from_url

    client: Any = from_url(url)  # type: ignore[no-untyped-call]
    heard = client.pubsub()
    listening = None
    if note is not None:
        await heard.subscribe(BARE)

        async def listen() -> None:
            async for message in heard.listen():
                if message["type"] == "message":
                    note(message["data"])

        listening = asyncio.create_task(listen())
    try:
        yield {BARE: lambda message: client.publish(BARE, message)}
    finally:
        if listening is not None:
            listening.cancel()
        await heard.aclose()
        await client.aclose()


@asynccontextmanager
async def nats(url: str, note: Note | None) -> AsyncIterator[Library]:
    from nats import connect

    client = await connect(url)
    log = client.jetstream()
    if note is not None:

        async def take(message: Any) -> None:
            note(message.data)

        await log.add_stream(name=STORED, subjects=[STORED])
        await client.subscribe(BARE, cb=take)
        await log.subscribe(STORED, cb=take, ordered_consumer=True)
        await client.flush()
    try:
        yield {
            BARE: lambda message: client.publish(BARE, message),
            STORED: lambda message: log.publish(STORED, message),
        }
    finally:
        await client.close()


async def hear(url: str) -> None:
    took: dict[str, list[int]] = {kind: [] for kind in (BARE, STORED, PLAIN, HISTORY)}
    is_warm = asyncio.Event()

    def note(message: bytes) -> None:
        kind, _, sent = message.partition(b" ")
        if sent:
            took[kind.decode()].append(time.monotonic_ns() - int(sent))
        else:
            is_warm.set()

    async def read(ws: Any) -> None:
        async for message in ws:
            note(message.encode())

    async with (
        node(url) as hub,
        library(url, note),
        pair(Heard(hub, PLAIN, HISTORY), timeout=None) as ws,
    ):
        reading = asyncio.create_task(read(ws))
        await hub.publish_confirmed(HISTORY, "warm")
        await is_warm.wait()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        reading.cancel()
    print(json.dumps(took), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(hear(sys.argv[1]))
