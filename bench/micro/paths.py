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
import os
import resource
import select
import socket
import sys
import time
import zlib
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

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.records import Kind, encode_record, hello
from fastws.pubsub.bus.registry import installed

#: Begins a number of rounds with a server at a port; between its marks are those.
Scene = Callable[[int, int], Coroutine[Any, Any, None]]
SUBSCRIBERS, SPEAKERS, TURN_MESSAGES = 1000, 100, 16
MASK = b"\x12\x34\x56\x78"
TEXT, CONTINUATION, CLOSE, FIN, COMPRESSED = 1, 0, 8, 0x80, 0x40
#: What many hear, with its header, and what is worth compressing.
SAID, HEARD = "t" * 64, 66
JSON_TEXT = ("[" + ",".join(f'{{"id":{n},"from":"user{n}","text":"a fine day"}}' for n in range(40)))[:1024]
#: A timer is set or is there already, as the time goes.
NO_TIMERS = fastws.Timeouts(
    handshake=None, body=None, keep_alive=None, ping_interval=None, ping_timeout=None, close=None, write=None
)
#: A recv of its own would ask malloc(3) for as much each time.
BUFFER = bytearray(65536)


def upgrade(path: str, extensions: str = "") -> bytes:
    """A browser's request."""
    offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9999\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        "Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
        f"Sec-WebSocket-Version: 13\r\nOrigin: http://127.0.0.1:9999\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: keep-alive, Upgrade\r\n"
        "Pragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n"
    ).encode()


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame, by its first byte."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126, size >> 8, size & 0xFF])
    return bytes([first]) + length + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(payload))


def deflated(text: str) -> bytes:
    """A message's payload under permessage-deflate."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    return (compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


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
ROUTES.append(fastws.Route("/shared", SHARED))


def unconnected() -> socket.socket:
    sock = socket.socket()
    # Room for all that one is sent before it is read.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return sock


def connect(sock: socket.socket, port: int, request: bytes) -> None:
    """Send a request; nothing here waits for the server."""
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    sock.send(request)


async def opened(number: int, port: int, request: bytes) -> list[socket.socket]:
    loop, socks = asyncio.get_running_loop(), []
    for _ in range(number):
        connect(sock := unconnected(), port, request)
        answer = await loop.sock_recv(sock, 4096)
        assert answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"\r\n\r\n"), answer
        socks.append(sock)
    return socks


class Rounds:
    """Begins a round when the one before has been heard, by callbacks: a task would cost as much as an echo.

    Of ``socks`` the last one is waited for, until ``size`` bytes have come to it. Those of the others are
    read after each run, and have to be as many. In the end all are closed.
    """

    def __init__(self, socks: list[socket.socket], size: int, begin: Callable[[], object]) -> None:
        self.socks, self.others, self.size, self.begin = socks, socks[:-1], size, begin
        self._loop = asyncio.get_running_loop()
        # One reader of the loop for all, so that to wait for another socket costs next to nothing.
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._readable)
        self._missing = 0
        if socks:
            self.listen_to(socks[-1])

    def listen_to(self, sock: socket.socket) -> None:
        self.sock = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _readable(self) -> None:
        got = self.sock.recv_into(BUFFER)
        self._missing -= got
        if self._missing <= 0 or not got:
            self._next()

    def _next(self) -> None:
        if self._left and not self._missing:
            self._left -= 1
            self._missing = self.size
            self.begin()
            return
        if self._counts:
            os.getppid()
        if self._missing:
            self._over.set_exception(AssertionError(f"{self._missing} bytes are missing"))
        else:
            self._over.set_result(None)

    async def run(self, rounds: int, *, counts: bool = False) -> None:
        self._left, self._counts, self._over = rounds, counts, self._loop.create_future()
        if counts:
            os.getppid()
        self._next()
        await self._over
        for sock in self.others:
            missing = rounds * self.size
            while missing:
                try:
                    missing -= (got := sock.recv_into(BUFFER, missing))
                    assert got
                except BlockingIOError:
                    await asyncio.sleep(0)

    async def count(self, rounds: int) -> None:
        await self.run(rounds)
        await self.run(rounds, counts=True)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for sock in self.socks:
            sock.close()


class Ends(Rounds):
    """What is waited for is the end of TCP."""

    def _readable(self) -> None:
        if not self.sock.recv_into(BUFFER):
            self.sock.close()
            self._next()


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
