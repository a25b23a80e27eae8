"""Whole paths of a server, called so that callgrind can count their instructions. Run by ``instructions.py``.

A server and its clients are in one process and on one loop, uvloop's; between them is TCP on 127.0.0.1. Only
what fastws offers to everybody is used. The clients are sockets driven by callbacks, and a part of what is
counted: a send, and a turn of the loop with its recv, are some 6,000 instructions. Of many clients only one
is waited for, and what the others have heard is read when nothing counts.

Before and after what counts stands a call of getppid(2), as in ``frame_path.py``. Prints the names in the
order of the parts: number 2, 4, 6...

Whether two names share a place in the interpreter's cache of attributes is a matter of addresses and of how
many classes there are, and may be 2 % of an echo. An argument is a number of classes more.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import resource
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

import fastws

if __name__ == "__main__":
    # A class has a number in that cache from when something of it is looked for.
    CLASSES = [hasattr(type("Class", (), {}), "nothing") for _ in range(int((sys.argv[1:] or ["0"])[0]))]
    # Before anything of fastws is imported, which is when it is first used. A date is made once in a second,
    # and a fan-out waits for more as long as the last one took: here a look at the clock takes a microsecond.
    time.time = itertools.repeat(1.7e9).__next__
    time.monotonic = itertools.count(1.0, 1e-6).__next__

from bench.micro.feed_paths import FEED_PATHS, FEED_ROUTES
from bench.micro.rounds import (
    BUFFER,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    TEXT,
    Ends,
    Rounds,
    connect,
    deflated,
    frame,
    opened,
    unconnected,
    upgrade,
)
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.records import Kind, encode_record, hello
from fastws.pubsub.bus.registry import installed

#: Begins a number of rounds with a server at a port; between its marks are those.
Scene = Callable[[int, int], Coroutine[Any, Any, None]]
SUBSCRIBERS, SPEAKERS, TURN_MESSAGES = 1000, 100, 16
#: What many hear, with its header, and what is worth compressing.
SAID, HEARD = "t" * 64, 66
JSON_TEXT = ("[" + ",".join(f'{{"id":{n},"from":"user{n}","text":"a fine day"}}' for n in range(40)))[:1024]
#: A timer is set or is there already, as the time goes.
NO_TIMERS = fastws.Timeouts(
    handshake=None, body=None, keep_alive=None, ping_interval=None, ping_timeout=None, close=None, write=None
)
HUB = fastws.Hub()


class Echo(fastws.Handler):
    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        ws.send_nowait(message)


class Room(fastws.Handler):
    def on_open(self, ws: fastws.WebSocket) -> None:
        HUB.subscribe(ws, "room")

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        HUB.publish("room", message)


class Shared(fastws.Handler):
    """Listens to a hub that shares what is published with other processes."""

    hub: fastws.Hub

    def on_open(self, ws: fastws.WebSocket) -> None:
        self.hub.subscribe(ws, "room")


SHARED = Shared()


async def coroutine(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


ROUTES = [fastws.Route("/echo", Echo()), fastws.Route("/coroutine", coroutine), fastws.Route("/room", Room())]
ROUTES += [fastws.Route("/shared", SHARED), *FEED_ROUTES]


async def echo(path: str, sent: bytes, extensions: str, port: int, rounds: int) -> None:
    socks = await opened(1, port, upgrade(path, extensions))
    begin = partial(socks[0].send, sent)
    begin()
    # The first answer tells how long they all are.
    answer = await asyncio.get_running_loop().sock_recv(socks[0], 65536)
    assert answer[0] == FIN | TEXT | (COMPRESSED if extensions else 0), answer
    await Rounds(socks, len(answer), begin).count(rounds)


async def publish(messages: int, port: int, rounds: int) -> None:
    socks = await opened(SUBSCRIBERS, port, upgrade("/room"))

    def begin() -> None:
        for _ in range(messages):
            HUB.publish("room", SAID)

    await Rounds(socks, messages * HEARD, begin).count(rounds)


async def share(peers: int) -> tuple[Bus, list[socket.socket]]:
    """Give ``SHARED`` a hub on a bus with so many peers; return the bus and their ends."""
    bus = Bus(1)
    with installed(bus):
        SHARED.hub = fastws.Hub()
    await bus.start()
    # It tells numbers again every second, and a round may be the one in which it does.
    assert bus._timer is not None
    bus._timer.cancel()
    ends = []
    for number in range(peers):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        theirs.send(hello(2 + number))
        bus.add_peer(ours, 2 + number)
        ends.append(theirs)
    await asyncio.sleep(0.01)
    return bus, ends


async def publish_shared(peers: int | None, port: int, rounds: int) -> None:
    """To one client, and to so many peers; None: without a bus."""
    bus: Bus | None = None
    ends: list[socket.socket] = []
    if peers is None:
        SHARED.hub = fastws.Hub()
    else:
        bus, ends = await share(peers)
    hub, socks = SHARED.hub, await opened(1, port, upgrade("/shared"))

    def begin() -> None:
        for end in ends:
            with contextlib.suppress(BlockingIOError):
                end.recv_into(BUFFER)
        for _ in range(TURN_MESSAGES):
            hub.publish("room", SAID)

    await Rounds(socks, TURN_MESSAGES * HEARD, begin).count(rounds)
    if bus is not None:
        await bus.close()
    for end in ends:
        end.close()


async def receive_shared(port: int, rounds: int) -> None:
    bus, [end] = await share(1)
    socks = await opened(1, port, upgrade("/shared"))
    body = TURN_MESSAGES * (bytes([FIN | TEXT, len(SAID)]) + SAID.encode())
    numbers = range(1, 1 + 2 * rounds * TURN_MESSAGES, TURN_MESSAGES)
    records = [
        encode_record(Kind.RUN, 0, b"default\0room", TURN_MESSAGES, number, body) for number in numbers
    ]
    records.reverse()
    await Rounds(socks, TURN_MESSAGES * HEARD, lambda: end.send(records.pop())).count(rounds)
    assert bus.missed == 0
    await bus.close()
    end.close()


async def room(port: int, rounds: int) -> None:
    socks = await opened(SPEAKERS, port, upgrade("/room"))
    sent = frame(FIN | TEXT, SAID.encode())

    def begin() -> None:
        for sock in socks:
            sock.send(sent)

    await Rounds(socks, SPEAKERS * HEARD, begin).count(rounds)


async def handshake(port: int, rounds: int) -> None:
    """From connect(2) to the 101; the end of the connection is not in it."""
    request = upgrade("/echo")
    connect(first := unconnected(), port, request)
    size = len(await asyncio.get_running_loop().sock_recv(first, 4096))
    fresh, socks = [unconnected() for _ in range(2 * rounds)], [first]

    def begin() -> None:
        socks.append(sock := fresh.pop())
        connect(sock, port, request)
        run.listen_to(sock)

    run = Rounds(socks, size, begin)
    await run.count(rounds)


async def close(port: int, rounds: int) -> None:
    """From a client's close frame to the end of TCP."""
    socks = await opened(2 * rounds, port, upgrade("/echo"))
    sent = frame(FIN | CLOSE, (1000).to_bytes(2, "big"))

    def begin() -> None:
        run.listen_to(sock := socks.pop())
        sock.send(sent)

    run = Ends([], 0, begin)
    await run.count(rounds)


WHOLE = frame(FIN | TEXT, b"t" * 20)
CUT = frame(TEXT, b"t" * 8) + frame(CONTINUATION, b"t" * 8) + frame(FIN | CONTINUATION, b"t" * 4)
SMALLER = frame(FIN | COMPRESSED | TEXT, deflated(JSON_TEXT))

#: Name -> how many rounds count, after as many that do not; how many of what it says are in one; the path.
PATHS: dict[str, tuple[int, int, Scene]] = {
    "handshake": (50, 1, handshake),
    "close by the client": (50, 1, close),
    "echo 20 B, callback handler": (300, 1, partial(echo, "/echo", WHOLE, "")),
    "echo 20 B, coroutine handler": (300, 1, partial(echo, "/coroutine", WHOLE, "")),
    "echo 20 B in 3 fragments": (300, 1, partial(echo, "/echo", CUT, "")),
    "echo 1 KiB, deflate": (100, 1, partial(echo, "/echo", SMALLER, "permessage-deflate")),
    f"publish 64 B to {SUBSCRIBERS:,}": (50, 1, partial(publish, 1)),
    f"publish 64 B to {SUBSCRIBERS:,}, {TURN_MESSAGES} in one turn": (
        20,
        TURN_MESSAGES,
        partial(publish, TURN_MESSAGES),
    ),
    f"room of {SPEAKERS}, one message": (8, SPEAKERS, room),
    f"publish 64 B to 1, {TURN_MESSAGES} in one turn": (50, TURN_MESSAGES, partial(publish_shared, None)),
    f"publish 64 B to 1, {TURN_MESSAGES} in one turn, a bus without peers": (
        50,
        TURN_MESSAGES,
        partial(publish_shared, 0),
    ),
    f"publish 64 B to 1 and a peer, {TURN_MESSAGES} in one turn": (
        50,
        TURN_MESSAGES,
        partial(publish_shared, 1),
    ),
    f"receive 64 B of a peer for 1, {TURN_MESSAGES} in one record": (50, TURN_MESSAGES, receive_shared),
    **FEED_PATHS,
}


async def count() -> None:
    for rounds, _, scene in PATHS.values():
        async with fastws.serve(ROUTES, "127.0.0.1", 0, timeouts=NO_TIMERS, access_log=False) as server:
            await scene(server.port, rounds)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()
    uvloop.run(count())
    print("\n".join(PATHS))


if __name__ == "__main__":
    main()
