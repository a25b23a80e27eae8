"""What every client shares: its arguments, the message, the clock. No WebSocket in here.

A client sends back whatever it hears, over each of its connections: what is under way once stays under way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

#: Large enough for every cell of the matrix; each client is told so in its own words.
MAX_MESSAGE = 16 * 1024 * 1024


class Load:
    """What the command line asks for, and what has been heard so far."""

    def __init__(self, url: str, connections: int, depth: int, size: int, *, binary: bool) -> None:
        self.url = url
        self.connections = connections
        #: Messages under way on each connection.
        self.depth = depth
        self.message: str | bytes = b"\x5a" * size if binary else "x" * size
        self.heard = 0


def main(client: Callable[[Load], Awaitable[None]]) -> None:
    """Run ``client``, a turn for each line of the standard input, and write what all turns gave as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    for name in ("--connections", "--depth", "--size"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--binary", action="store_true")
    for name in ("--warmup", "--duration"):
        parser.add_argument(name, type=float, required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    load = Load(given.url, given.connections, given.depth, given.size, binary=given.binary)
    figures = uvloop.run(_measure(client, load, given.warmup, given.duration))
    given.json.write_text(json.dumps(figures))


async def _measure(
    client: Callable[[Load], Awaitable[None]], load: Load, warmup: float, duration: float
) -> dict[str, float]:
    task = asyncio.ensure_future(client(load))
    await _go_on(task, warmup)
    messages, wall, cpu = 0, 0.0, 0.0
    while _next_turn():
        heard, begun, used = load.heard, time.perf_counter(), time.process_time()
        await _go_on(task, duration)
        messages += load.heard - heard
        wall += time.perf_counter() - begun
        cpu += time.process_time() - used
    if not messages:
        sys.exit("nothing came back")
    task.cancel()
    await asyncio.wait([task], timeout=5)
    return {"rate": messages / wall, "cpu_us": 1e6 * cpu / messages}


def _next_turn() -> bool:
    """Wait for it with the event loop standing still: nobody sends, and another has the core."""
    print("ready", flush=True)
    return bool(sys.stdin.readline())


async def _go_on(task: asyncio.Future[None], seconds: float) -> None:
    # The loop's clock stood still as long as the loop did: without these two rounds the time would be over.
    for _ in range(2):
        await asyncio.sleep(0)
    # A client that ends before its time has lost a connection.
    if (await asyncio.wait([task], timeout=seconds))[0]:
        task.result()
        sys.exit("the client ended early")
