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

import uvloop

#: Large enough for every cell of the matrix; each client is told so in its own words.
MAX_MESSAGE = 16 * 1024 * 1024


class Load:
    """What the command line asks for, and what has been heard so far."""

    def __init__(self, url: str, connections: int, depth: int, size: int, binary: bool) -> None:
        self.url = url
        self.connections = connections
        #: Messages under way on each connection.
        self.depth = depth
        self.message: str | bytes = b"\x5a" * size if binary else "x" * size
        self.heard = 0


def main(client: Callable[[Load], Awaitable[None]]) -> None:
    """Run ``client`` until the time is over, and print rate and CPU time of what was measured as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    for name in ("--connections", "--depth", "--size"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--binary", action="store_true")
    for name in ("--warmup", "--duration"):
        parser.add_argument(name, type=float, required=True)
    given = parser.parse_args()
    load = Load(given.url, given.connections, given.depth, given.size, given.binary)
    uvloop.run(_measure(client, load, given.warmup, given.duration))


async def _measure(
    client: Callable[[Load], Awaitable[None]], load: Load, warmup: float, duration: float
) -> None:
    task = asyncio.ensure_future(client(load))
    marks = []
    for pause in (warmup, duration):
        # A client that ends before its time has lost a connection.
        if (await asyncio.wait([task], timeout=pause))[0]:
            task.result()
            sys.exit("the client ended early")
        marks.append((load.heard, time.perf_counter(), time.process_time()))
    (heard, wall, cpu), (heard_in_all, end, cpu_in_all) = marks
    messages = heard_in_all - heard
    if not messages:
        sys.exit("nothing came back")
    print(json.dumps({"rate": messages / (end - wall), "cpu_us": 1e6 * (cpu_in_all - cpu) / messages}))
    task.cancel()
    await asyncio.wait([task], timeout=5)
