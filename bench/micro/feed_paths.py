"""The fan-out of a feed, and of plain messages of as many bytes; also beside clients that do not keep up.

A part of ``paths.py``, which counts instructions in user space: ``instructions.py`` checks ``MOST``.

Run by itself (``python -m bench.micro.feed_paths``) it measures CPU time, the kernel's too, which is most of
it: each path several times, in turn. Exit code 1 where a median is above ``MOST_CPU``.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from statistics import median
from typing import Any

import uvloop

import fastws
from bench.micro.rounds import BUFFER, MARK, Rounds, opened, upgrade

__all__ = ["FEED_PATHS", "FEED_ROUTES", "MOST"]

SUBSCRIBERS, PACED, BEHIND, TURN_MESSAGES = 1000, 100, 20, 16
#: What the clients of the feed are sent is as long as what the others are: ``WRAPPED`` bytes.
TEXT = "t" * 64
WRAPPED = 105
#: Positions with four digits are all as long.
FIRST_POSITION = 1000
#: So much fills the sockets of clients that do not read, and stays in the history.
FILL_MESSAGES, FILL_BYTES = 120, 65536

PLAIN = fastws.Hub("plain")
FEEDS = fastws.Hub("feeds")
FEEDS.topic("fed", history=2000, history_bytes=2**22)


class Listen(fastws.Handler):
    """Listens to the plain hub; ``?slowly`` with a pace that lets nothing through while it counts."""

    def on_open(self, ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        PLAIN.subscribe(ws, "room", max_rate=0.0001 if ws.request.query else None)


FEED_ROUTES = [
    fastws.Route("/listen", Listen()),
    # Nothing is said in between: the clock of callgrind is slow.
    fastws.Route("/feed", fastws.Feed(FEEDS, may_subscribe=fastws.anyone, ping=3600)),
]
Scene = Callable[[int, int], Coroutine[Any, Any, None]]


async def plain(messages: int, port: int, rounds: int, *, paced: int = 0) -> None:
    """The same bytes to all."""
    slow = await opened(paced, port, upgrade("/listen?slowly"))
    socks = await opened(SUBSCRIBERS, port, upgrade("/listen"))
    # Who has a pace of its own is sent one message, and then waits.
    PLAIN.publish("room", text := "t" * WRAPPED)
    await ended(socks, text.encode())
    await count(socks, messages, rounds, partial(PLAIN.publish, "room", text), len(text) + 2)
    close(slow)


async def fed(messages: int, port: int, rounds: int, *, paced: int = 0, stalled: int = 0) -> None:
    """What is published is wrapped once for all, with its position."""
    await published(FIRST_POSITION - await position())
    slow = await opened(paced, port, upgrade("/feed?topic=fed&rate=0.0001"))
    slow += await opened(stalled, port, upgrade("/feed?topic=fed"), receive_buffer=4096)
    if stalled:
        await stall()
    socks = await opened(SUBSCRIBERS, port, upgrade("/feed?topic=fed"))
    FEEDS.publish("fed", last := "u" * len(TEXT))
    heard = await ended(socks, f'"d":"{last}"}}'.encode())
    assert heard[-WRAPPED:].startswith(b'{"t":"fed","at"'), heard
    await count(socks, messages, rounds, partial(FEEDS.publish, "fed", TEXT), WRAPPED + 2)
    # Nothing has run since: whoever has not been given all of it is behind.
    behind = [sock for sock in slow[paced:] if held(sock) < FILL_MESSAGES * FILL_BYTES]
    assert len(behind) == stalled, f"{len(behind)} are behind"
    close(slow)


async def count(
    socks: list[socket.socket], messages: int, rounds: int, publish: Callable[[], object], size: int
) -> None:
    def begin() -> None:
        for _ in range(messages):
            publish()

    await Rounds(socks, messages * size, begin).count(rounds)


async def position() -> int:
    return int(str(await FEEDS.position("fed")).rpartition(":")[2])


async def published(number: int) -> None:
    for _ in range(number):
        FEEDS.publish("fed", TEXT)
    await asyncio.sleep(0)


async def stall() -> None:
    """Publish more than the sockets of these clients take."""
    for _ in range(FILL_MESSAGES):
        FEEDS.publish("fed", "s" * FILL_BYTES)
        await asyncio.sleep(0.001)


async def ended(socks: list[socket.socket], end: bytes) -> bytes:
    """Read what each has been sent, up to ``end``; return what the last one was."""
    loop = asyncio.get_running_loop()
    for sock in socks:
        heard = b""
        while not heard.endswith(end):
            heard += (got := await loop.sock_recv(sock, 65536))
            assert got, heard
    return heard


def held(sock: socket.socket) -> int:
    """How many bytes the kernel has for a client."""
    size = 0
    with contextlib.suppress(BlockingIOError):
        while got := sock.recv_into(BUFFER):
            size += got
    return size


def close(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.close()


EQUAL, FEED = f"publish {WRAPPED} B to {SUBSCRIBERS:,}", f"feed of 64 B to {SUBSCRIBERS:,}"
IN_TURN = f", {TURN_MESSAGES} in one turn"
SLOWLY, LATE = f", beside {PACED} with max_rate", f", beside {BEHIND} that are behind"

#: As ``PATHS`` of ``paths.py``.
FEED_PATHS: dict[str, tuple[int, int, Scene]] = {
    EQUAL: (50, 1, partial(plain, 1)),
    EQUAL + IN_TURN: (20, TURN_MESSAGES, partial(plain, TURN_MESSAGES)),
    EQUAL + IN_TURN + SLOWLY: (20, TURN_MESSAGES, partial(plain, TURN_MESSAGES, paced=PACED)),
    FEED: (50, 1, partial(fed, 1)),
    FEED + IN_TURN: (20, TURN_MESSAGES, partial(fed, TURN_MESSAGES)),
    FEED + IN_TURN + SLOWLY: (20, TURN_MESSAGES, partial(fed, TURN_MESSAGES, paced=PACED)),
    FEED + IN_TURN + LATE: (20, TURN_MESSAGES, partial(fed, TURN_MESSAGES, stalled=BEHIND)),
}
#: How many times the CPU of another path a path may have at most, by both names.
MOST_CPU: dict[tuple[str, str], float] = {
    (FEED, EQUAL): 1.12,
    (FEED + IN_TURN, EQUAL + IN_TURN): 1.12,
    (EQUAL + IN_TURN + SLOWLY, EQUAL + IN_TURN): 1.05,
    (FEED + IN_TURN + SLOWLY, FEED + IN_TURN): 1.05,
    (FEED + IN_TURN + LATE, FEED + IN_TURN): 1.05,
}
#: The same of instructions. Of 16 in a turn most of the work is the kernel's, which callgrind does not count.
MOST: dict[tuple[str, str], float] = {
    (FEED, EQUAL): 1.12,
    (FEED + IN_TURN, EQUAL + IN_TURN): 1.25,
    (EQUAL + IN_TURN + SLOWLY, EQUAL + IN_TURN): 1.1,
    (FEED + IN_TURN + SLOWLY, FEED + IN_TURN): 1.1,
    (FEED + IN_TURN + LATE, FEED + IN_TURN): 1.05,
}
#: Positions keep four digits for so long.
TURNS = 3


async def cpu(name: str) -> float:
    """Microseconds of CPU of one message, the client's that is waited for too."""
    rounds, each, scene = FEED_PATHS[name]
    times: list[float] = []

    def mark() -> None:
        times.append(time.process_time())

    MARK[0] = mark
    async with fastws.serve(FEED_ROUTES, "127.0.0.1", 0, access_log=False) as server:
        await scene(server.port, rounds)
    return 1e6 * (times[1] - times[0]) / (rounds * each)


async def measured() -> list[dict[str, float]]:
    return [{name: await cpu(name) for name in FEED_PATHS} for _ in range(TURNS)]


def main() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    turns = uvloop.run(measured())
    for name in FEED_PATHS:
        print(f"{name}: {median(turn[name] for turn in turns):.0f} µs of CPU a message")
    held = True
    for (name, other), allowed in MOST_CPU.items():
        times = sorted(turn[name] / turn[other] for turn in turns)
        seen = f"{median(times):.3f} times {other} ({times[0]:.2f} to {times[-1]:.2f}, at most {allowed})"
        print(f"{name}: {seen}")
        held = held and median(times) <= allowed
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
