"""Attacks on an open WebSocket that are more than bytes and a close code."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from importlib.metadata import version

import pytest

import fastws
import fastws.web.auth
from tests.hostile.harness import Arena
from tests.hostile.payloads import DEFLATE, LIMIT, MS, deflated, fragments
from tests.kit.process import MIB, open_files
from tests.live.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    accepted,
    close_frame,
    frame,
    upgrade,
)

# -- W1 to W8: messages that cost more than they are --------------------------------------------------


def unfinished_messages(arena: Arena) -> None:
    """Each just below the limit of fragments."""
    data = fragments(BINARY, b"x", 16_000)
    count = 100 if arena.engine == "c" else arena.choose(5, 100)
    with arena.many(count) as peers, arena.bounds(grows=count * MIB // 2):
        # All of them first: on the slow engine the last would wait longer for it than a handshake may take.
        for peer in peers:
            peer.upgrade()
        for peer in peers:
            peer.send(data)
        for peer in peers:
            # What was sent before is read: the pong says so.
            peer.send(frame(PING, b"?"))
            peer.sock.settimeout(60)
            assert peer.no_ping().opcode == PONG


def no_flood(arena: Arena) -> None:
    """A count that is never set back would end a long-lived connection."""
    whole, halves = frame(TEXT, b"x"), frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")
    empty = frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"")
    with arena.peer().upgrade() as peer:
        # On the other engine a tenth, for the time it takes.
        many = 100_000 if arena.engine == "c" else arena.choose(10_000, 100_000)
        data = whole * many + halves * (many // 10) + empty * 100
        outcome = peer.exchange(data + close_frame(1000), 50)
    assert outcome.code == 1000
    expected = [b"x"] * many + [b"ab"] * (many // 10) + [b""] * 100
    assert [each.payload for each in outcome.frames[:-1]] == expected


def byte_by_byte(arena: Arena) -> None:
    size = arena.choose(LIMIT // 8, LIMIT)
    data = frame(BINARY, bytes(range(256)) * (size // 256))
    with arena.peer().upgrade() as peer, arena.bounds(cpu=5, grows=2 * MIB):
        send = peer.sock.send
        for position in range(len(data)):
            send(data[position : position + 1])
        assert peer.frame().payload == bytes(range(256)) * (size // 256)


BLOCKS = (b"\x00\x00\x00\xff\xff", b"\x03\x00", b"\x02", b"\x05\xc0\x81\x00\x00\x00\x00\x00\x10\xff\x6b\x20")


def inflating_is_linear(arena: Arena) -> None:
    """Empty stored blocks, final blocks, empty fixed blocks, and a dynamic block with long tables."""
    for block in BLOCKS:
        spent = []
        for size in (LIMIT // 10, LIMIT - 16):
            data = frame(BINARY, block * (size // len(block)), rsv=4) + close_frame(1000)
            with arena.peer().upgrade("/echo", DEFLATE) as peer, arena.bounds() as watched:
                outcome = peer.exchange(data)
            assert outcome.code in (1000, 1002, 1007, 1009)
            spent.append(watched.cpu)
        arena.quick(spent[1], 100 * MS, f"for {block!r}")
        arena.quick(spent[1], 15 * spent[0] + 50 * MS, f"for ten times {block!r}")


# -- W17: chance ---------------------------------------------------------------------------------------

STREAM = (
    upgrade("/ws", DEFLATE)
    + frame(TEXT, b"hello")
    + frame(TEXT, deflated(b"x" * 400), rsv=4)
    + frame(PING, b"?")
    + fragments(BINARY, b"abc", 2)
    + frame(CONTINUATION, b"def")
    + frame(3)
)


def resets_anywhere(arena: Arena) -> None:
    """30 points of a life, and each again and again: in the head, in frames, in the close."""
    points = [len(STREAM) * number // 29 for number in range(30)]
    with arena.bounds(grows=MIB):
        for _ in range(arena.choose(6, 1000)):
            for cut in arena.chance.sample(points, len(points)):
                with arena.peer() as peer:
                    peer.send(STREAM[:cut])
                    if arena.chance.random() < 0.3:
                        time.sleep(0.001)
                    if arena.chance.random() < 0.8:
                        peer.reset()
    arena.idle()


# -- W12: pongs that are owed -------------------------------------------------------------------------


def flood_of(opcode: int, size: int = 21_000_000) -> bytes:
    return frame(opcode, bytes(125)) * (size // 131)


def pings_unread(arena: Arena) -> None:
    with arena.peer().upgrade() as peer, arena.bounds(grows=2 * MIB):
        peer.sock.settimeout(1)
        with pytest.raises((TimeoutError, ConnectionError)):
            peer.send(flood_of(PING))


def pongs_unasked(arena: Arena) -> None:
    size = 21_000_000 if arena.engine == "c" else arena.choose(4_000_000, 21_000_000)
    with arena.peer().upgrade() as peer, arena.bounds(grows=MIB // 2):
        outcome = peer.exchange(flood_of(PONG, size) + close_frame(1000), 50)
        assert outcome.code == 1000


def flooder(arena: Arena) -> None:
    """Small messages as fast as they go for a while: the canary, beside it, has its turns."""
    data = memoryview(frame(BINARY, b"x") * 100_000)
    until = time.monotonic() + arena.choose(1.0, 10.0)
    with arena.peer().upgrade() as peer:
        peer.sock.settimeout(0)
        at = 0
        while time.monotonic() < until:
            for act in (lambda: peer.sock.recv(1 << 20), None):
                try:
                    if act is not None:
                        act()
                    else:
                        at = (at + peer.sock.send(data[at : at + 65536])) % len(data)
                except BlockingIOError:
                    time.sleep(0.0005)
        peer.reset()


# -- W13: the other role -----------------------------------------------------------------------------


def client_takes_no_mask(arena: Arena) -> None:
    """A server that masks, and our client."""
    codes = []

    async def masks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        writer.write(accepted(key.split()[1].decode()) + frame(TEXT, b"masked"))
        data = await reader.read(100)
        codes.append(bytes(a ^ b for a, b in zip(data[6:8], data[2:6], strict=False)))
        writer.close()

    async def play() -> None:
        async with await asyncio.start_server(masks, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with fastws.connect(url) as ws:
                with pytest.raises(fastws.ConnectionClosedError) as closed:
                    await ws.recv()
        assert closed.value.code == 1002

    asyncio.run(play())
    assert codes == [(1002).to_bytes(2, "big")]


def client_masks_at_random(arena: Arena) -> None:
    """10,000 keys of our client: each once, and no bit that knows another."""
    keys: list[bytes] = []

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        writer.write(accepted(key.split()[1].decode()))
        while len(keys) < 10_000:
            keys.append((await reader.readexactly(7))[2:6])
        writer.close()

    async def play() -> None:
        async with await asyncio.start_server(listens, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with fastws.connect(url, compression=None) as ws:
                for _ in range(10_000):
                    ws.send_nowait(b"x")
                with pytest.raises(fastws.ConnectionClosed):
                    await ws.recv()

    asyncio.run(play())
    # Of 10,000 of 2**32 values two are alike once in 86 times; three times never.
    assert len(set(keys)) > 9_997
    numbers = [int.from_bytes(key, "big") for key in keys]
    for bit in range(32):
        ones = sum(number >> bit & 1 for number in numbers)
        changes = sum((one ^ other) >> bit & 1 for one, other in itertools.pairwise(numbers))
        # Six standard deviations of 10,000 throws of a coin.
        assert abs(ones - 5000) < 300 and abs(changes - 5000) < 300


# -- W15, W16: ends, and characters that are cut -----------------------------------------------------


def who_keeps_tcp_open(arena: Arena) -> None:
    """The server waits a bounded time for the other side of the close, whoever began it."""
    limit = arena.choose(1.0, 5.0)
    with arena.many(3) as peers:
        for peer, data in zip(peers, [close_frame(1000), frame(3), frame(TEXT, b"\xff")], strict=True):
            peer.upgrade().send(data)
            assert peer.frame().opcode == CLOSE
        arena.until(lambda: open_files(arena.pid) == arena.stage.files, limit + 1, "sockets are closed")


def our_own_close(arena: Arena) -> None:
    """What our close says is what was given, to the byte; what fits into none is refused locally."""

    async def serves(ws: fastws.WebSocket) -> None:
        with pytest.raises(ValueError):
            await ws.close(1000, "x" * 124)
        with pytest.raises(ValueError):
            await ws.close(1005)
        await ws.close(4999, "é" * 61 + "x")

    async def play() -> bytes:
        async with fastws.serve(serves, "127.0.0.1") as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(upgrade("/"))
            await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(2 + 125)
            writer.close()
            return answer

    assert asyncio.run(play()) == b"\x88\x7d" + (4999).to_bytes(2, "big") + "é".encode() * 61 + b"x"


CHARACTERS = ["é", "߿", "ࠀ", "€", "퟿", "\ue000", "\uffff", "𐀀", "🐍", "\U0010ffff"]


def characters_in_pieces(arena: Arena) -> None:
    with arena.peer().upgrade() as peer:
        for character in CHARACTERS:
            data = character.encode()
            for cut in range(1, len(data)):
                peer.send(frame(TEXT, data[:cut], fin=False))
                peer.send(frame(CONTINUATION, data[cut:]))
                assert peer.frame().payload == data
                whole = frame(TEXT, data)
                peer.send(whole[: 6 + cut])
                time.sleep(0.002)
                peer.send(whole[6 + cut :])
                assert peer.frame().payload == data


def text_in_random_pieces(arena: Arena) -> None:
    """Valid text comes back whole; with one bad octet in it, 1007."""
    chance = arena.chance
    for _ in range(arena.choose(20, 300)):
        text = "".join(chance.choice("aé€🐍") for _ in range(chance.randrange(2, 4000)))
        data = text.encode()
        broken = bytearray(data)
        broken[chance.randrange(len(data))] = chance.choice([0xC0, 0xC1, 0xF5, 0xFE, 0xFF])
        for payload, good in ((data, True), (bytes(broken), False)):
            cuts = sorted(chance.sample(range(len(payload)), min(5, len(payload) - 1)))
            parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
            stream = frame(TEXT, parts[0], fin=False)
            stream += b"".join(frame(CONTINUATION, part, fin=False) for part in parts[1:])
            with arena.peer().upgrade() as peer:
                outcome = peer.exchange(stream + frame(CONTINUATION, b"") + close_frame(1000))
            if good:
                assert (outcome.frames[0].payload, outcome.code) == (data, 1000)
            else:
                assert outcome.code == 1007


# -- W18: a client that does not read ------------------------------------------------------------------


EVICTED = '"WS /feed" closed 1008 "too slow"'


#: A frame of the feed: its header, and 1 KiB.
FEED_SIZE = 4 + 1024


def slow_readers(arena: Arena) -> None:
    """They stop to read a broadcast; they are evicted, and who reads misses nothing."""
    count, rate = arena.choose(5, 20), arena.choose(4000, 1000)
    before = arena.site.child.stdout().count(EVICTED)
    with arena.many(count) as slow, arena.peer().upgrade("/feed") as reader:
        for peer in slow:
            peer.upgrade("/feed")
        started = time.monotonic()
        with arena.bounds(grows=count * 12 * MIB // 10 + 2 * MIB):
            reader.send(frame(TEXT, str(rate).encode()))
            data, heard = bytearray(), 0
            while arena.site.child.stdout().count(EVICTED) < before + count:
                # What the kernel takes first is 2 to 7 MB each.
                assert time.monotonic() - started < 10 + 7000 / rate, "they are still there"
                data += reader.sock.recv(1 << 20)
                whole = len(data) // FEED_SIZE
                for position in range(whole):
                    message = b"\x82\x7e\x04\x00" + f"{heard + position:08}".encode() * 128
                    assert data.startswith(message, position * FEED_SIZE), "a message is missing"
                heard += whole
                del data[: whole * FEED_SIZE]
        # Nobody reads what is in their sockets: they are cut.
        arena.until(lambda: open_files(arena.pid) <= arena.stage.files + 1, 11, "the slow are cut")


# -- W21: JSON -----------------------------------------------------------------------------------------


def nested_json(arena: Arena) -> None:
    """What is nested too deeply ends its sender, and nobody else."""
    assert tuple(map(int, version("orjson").split("."))) >= (3, 11, 6)
    with arena.peer().upgrade("/json") as bystander:
        for depth in (100_000, 1025, 300):
            for data in (b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
                with arena.peer().upgrade("/json") as peer, arena.bounds(grows=4 * MIB):
                    outcome = peer.exchange(frame(TEXT, data) + close_frame(1000))
                assert (outcome.code, outcome.ended) == (1007, True), (depth, data[:9], outcome.code)
        bystander.send(frame(TEXT, b"[" * 200 + b"]" * 200))
        assert json.loads(bystander.frame().payload) is not None
