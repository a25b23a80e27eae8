"""The attacks of a siege, each a coroutine on a connection of its own.

Whether each is refused as it must be is for the tests of hostile peers; here they only have to hurt.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.live.raw import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame, header, upgrade
from tests.siege.attackers import Attack, Target

__all__ = ["ALL", "TLS"]

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
CHUNK = 256 * 1024
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


class Wire:
    """One connection of an attacker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), CHUNK):
            self.writer.write(data[start : start + CHUNK])
            await self.writer.drain()

    async def rest(self, seconds: float = 5.0) -> None:
        """Read until the server has had enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.reader.read(65536):
                    pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def wire(target: Target) -> AsyncIterator[Wire]:
    tls = UNVERIFIED if target.tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=tls)
    writer.transport.set_write_buffer_limits(high=CHUNK)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def websocket(target: Target, path: str = "/echo", *fields: str) -> AsyncIterator[Wire]:
    async with wire(target) as opened:
        await opened.send(upgrade(path, *fields))
        await opened.reader.readuntil(b"\r\n\r\n")
        yield opened


async def _http(target: Target, data: bytes, seconds: float = 5.0) -> None:
    async with wire(target) as opened:
        await opened.send(data)
        await opened.rest(seconds)


async def _frames(target: Target, data: bytes, *fields: str) -> None:
    async with websocket(target, "/echo", *fields) as opened:
        await opened.send(data)
        await opened.rest()


# -- WebSocket ----------------------------------------------------------------------------------


async def fragment_bomb(target: Target, random_: random.Random) -> None:
    await _frames(target, frame(BINARY, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) * 60_000)


async def empty_fragments(target: Target, random_: random.Random) -> None:
    await _frames(target, frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 60_000)


async def large_lengths(target: Target, random_: random.Random) -> None:
    size = random_.choice([1 << 30, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    await _frames(target, b"\x82\xff" + struct.pack("!Q", size) + b"abcd" + os.urandom(64))


async def unknown_opcodes(target: Target, random_: random.Random) -> None:
    await _frames(target, header(random_.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), 1 << 40, mask=b"abcd"))


_squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
BOMB = (_squeezer.compress(bytes(50 << 20)) + _squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def deflate_bomb(target: Target, random_: random.Random) -> None:
    await _frames(target, frame(BINARY, BOMB, rsv=4), DEFLATE)


async def empty_blocks(target: Target, random_: random.Random) -> None:
    await _frames(target, frame(BINARY, b"\0\0\0\xff\xff" * 100_000, rsv=4), DEFLATE)


async def reserved_bits(target: Target, random_: random.Random) -> None:
    await _frames(
        target, frame(random_.choice([TEXT, CONTINUATION, PING]), b"x", rsv=random_.choice([1, 2, 4, 7]))
    )


async def ping_flood(target: Target, random_: random.Random) -> None:
    """The peer never reads its pongs."""
    async with websocket(target) as opened:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await opened.send(frame(random_.choice([PING, PONG]), bytes(125)) * 100_000)


async def wrong_masks(target: Target, random_: random.Random) -> None:
    await _frames(target, frame(TEXT, b"unmasked", mask=None))


async def control_rules(target: Target, random_: random.Random) -> None:
    bad = [frame(PING, bytes(126)), frame(PING, b"", fin=False), frame(CONTINUATION, b"x"), b"\x88\x81abcd\0"]
    await _frames(target, random_.choice(bad))


async def close_codes(target: Target, random_: random.Random) -> None:
    code = random_.choice([0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535])
    await _frames(
        target, close_frame(code, random_.choice([b"", b"\xff", b"x" * 123])) + frame(TEXT, b"after")
    )


async def bad_text(target: Target, random_: random.Random) -> None:
    bad = random_.choice([b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xe2\x82"])
    await _frames(target, frame(TEXT, bytes(b"a" * random_.randrange(100_000)) + bad))


async def tiny_writes(target: Target, random_: random.Random) -> None:
    async with websocket(target) as opened:
        for byte in frame(BINARY, os.urandom(500)):
            await opened.send(bytes([byte]))
        await opened.rest(0.2)


async def large_echoes(target: Target, random_: random.Random) -> None:
    """Asks for more than it will ever read."""
    async with websocket(target) as opened:
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                for _ in range(40):
                    await opened.send(frame(BINARY, bytes(512 * 1024)))


async def slow_reader(target: Target, random_: random.Random) -> None:
    """Listens to what the normal ones hear, and reads none of it."""
    async with websocket(target, "/broadcast"):
        await asyncio.sleep(random_.uniform(1, 14))


async def resets(target: Target, random_: random.Random) -> None:
    async with wire(target) as opened:
        whole = upgrade("/echo", DEFLATE) + frame(BINARY, b"\x12\x34", rsv=4) + frame(TEXT, b"x" * 1000) * 3
        await opened.send(whole[: random_.randrange(len(whole))])
        await asyncio.sleep(random_.uniform(0, 0.02))
        opened.reset()


# -- handshake and HTTP -------------------------------------------------------------------------


async def random_handshakes(target: Target, random_: random.Random) -> None:
    noise = bytes(random_.randrange(1, 256) for _ in range(200))
    fields = [
        "X-A: " + noise.decode("latin-1"),
        "Sec-WebSocket-Protocol: " + "b" + " " * 5000 + "x",
        'Sec-WebSocket-Extensions: permessage-deflate; a="\\c',
        "Origin: " + random_.choice(["null", "http://host.evil", "http://127.0.0.1`evil", "https://[::"]),
        *["X: y"] * random_.choice([1, 200]),
    ]
    await _http(target, upgrade("/echo", *random_.sample(fields, 2)), 1)


SMUGGLED = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n",
    b"Content-Length: +5\r\n\r\nhello",
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"Content-Length: 1_0\r\n\r\n0123456789",
    b"Transfer-Encoding: chunked\r\n\r\n5;a=\nb\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 10\r\n\r\n0123456789",
    b"X: a\rb\r\n\r\n",
    b"X : a\r\n\r\n",
    b" X: a\r\n\r\n",
    b"X: \x00\r\n\r\n",
    b"Host: y\r\n\r\n",
]


async def smuggling(target: Target, random_: random.Random) -> None:
    await _http(target, b"POST / HTTP/1.1\r\nHost: x\r\n" + random_.choice(SMUGGLED), 2)


async def large_heads(target: Target, random_: random.Random) -> None:
    await _http(
        target, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * random_.choice([9_000, 20_000, 500_000]), 2
    )


async def slowloris(target: Target, random_: random.Random) -> None:
    async with wire(target) as opened:
        await opened.send(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(12):
            await opened.send(b"a")
            await asyncio.sleep(1)


async def slow_body(target: Target, random_: random.Random) -> None:
    async with wire(target) as opened:
        await opened.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(12):
            await opened.send(b"a")
            await asyncio.sleep(1)


async def pipelining(target: Target, random_: random.Random) -> None:
    """10,000 requests, no answer read."""
    async with wire(target) as opened:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await opened.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000)
                await asyncio.sleep(3)


async def forged_lines(target: Target, random_: random.Random) -> None:
    await _http(target, b"GET /%1b[31m%0d%0aFAKE HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m\r\n\r\n", 1)


async def traversal(target: Target, random_: random.Random) -> None:
    paths = [
        b"/static/../../etc/passwd",
        b"/static/%2e%2e%2fetc/passwd",
        b"/static/..%5cx",
        b"//etc/passwd",
        b"/%00",
    ]
    data = b"GET " + random_.choice(paths) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    await _http(target, data, 2)


async def ranges(target: Target, random_: random.Random) -> None:
    many = b",".join(b"%d-%d" % (n, n + 5) for n in range(900))
    await _http(target, b"GET /assets/style.css HTTP/1.1\r\nHost: x\r\nRange: bytes=" + many + b"\r\n\r\n", 1)


async def aborted_downloads(target: Target, random_: random.Random) -> None:
    async with wire(target) as opened:
        await opened.send(b"GET /assets/style.css HTTP/1.1\r\nHost: x\r\n\r\n")
        await opened.reader.read(100)
        opened.reset()


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


async def wrong_protocol(target: Target, random_: random.Random) -> None:
    """TLS on a plain port, HTTP on a TLS port, HTTP/2 and noise."""
    greeting = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if target.tls else HELLO
    data = random_.choice([greeting, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", os.urandom(500)])
    await _http(Target(target.port), data, 2)


# -- TLS ----------------------------------------------------------------------------------------


async def half_hellos(target: Target, random_: random.Random) -> None:
    """The handshake is begun, or not even that."""
    await _http(Target(target.port), HELLO[: random_.randrange(len(HELLO))], 12)


async def broken_handshakes(target: Target, random_: random.Random) -> None:
    """A whole hello with a byte changed, or one that nobody waits for the answer of."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        UNVERIFIED.wrap_bio(incoming, outgoing).do_handshake()
    hello = bytearray(outgoing.read())
    async with wire(Target(target.port)) as opened:
        if random_.random() < 0.5:
            hello[random_.randrange(len(hello))] ^= 1 << random_.randrange(8)
            await opened.send(hello)
            await opened.rest(2)
        else:
            await opened.send(hello)
            await asyncio.sleep(random_.uniform(0, 0.005))
            opened.reset()


ALL: list[Attack] = [
    fragment_bomb,
    empty_fragments,
    large_lengths,
    unknown_opcodes,
    deflate_bomb,
    empty_blocks,
    reserved_bits,
    ping_flood,
    wrong_masks,
    control_rules,
    close_codes,
    bad_text,
    tiny_writes,
    large_echoes,
    slow_reader,
    resets,
    random_handshakes,
    smuggling,
    large_heads,
    slowloris,
    slow_body,
    pipelining,
    forged_lines,
    traversal,
    ranges,
    aborted_downloads,
    wrong_protocol,
]

#: Those that make sense on a TLS port only.
TLS: list[Attack] = [half_hellos, broken_handshakes]
