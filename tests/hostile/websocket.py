"""Attacks on an open WebSocket that are more than bytes and a close code."""

from __future__ import annotations

import ast
import asyncio
import base64
import inspect
import itertools
import json
import math
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import fmean, variance
from typing import Any

import pytest

import fastws
import fastws.web.auth
from fastws import Request, basic_auth, token_auth
from tests.hostile.harness import LONG, Arena, TooSlow
from tests.hostile.payloads import DEFLATE, LIMIT, MS, deflated, fragments
from tests.kit.process import MIB, open_files
from tests.live.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
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


# -- W9, W10: what is offered in a handshake ----------------------------------------------------------

OFFERS = [
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=x",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    "permessage-deflate; client_max_window_bits=010",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; constructor",
    "constructor",
    "__proto__; permessage-deflate",
    "permessage-deflate; server_max_window_bits=999999999999999999999999",
    "permessage-deflate; client_max_window_bits=+9",
    "permessage-deflate; client_max_window_bits=\xb2",
    'permessage-deflate; server_max_window_bits="1\\',
    "permessage-deflate;; ,,",
    "x-webkit-deflate-frame",
]


def offers_that_are_none(arena: Arena) -> None:
    for offer in OFFERS:
        with arena.peer() as peer:
            peer.send(upgrade("/echo", f"Sec-WebSocket-Extensions: {offer}"))
            head = peer.head()
            assert head.startswith(b"HTTP/1.1 101 "), offer
            assert b"sec-websocket-extensions" not in head.lower(), offer
            peer.send(frame(TEXT, b"x"))
            assert peer.frame().payload == b"x"


def backtracking(arena: Arena) -> None:
    """Values on which a careless pattern takes quadratic or exponential time."""
    values = [
        "b" + " " * 30_000 + "x",
        "b" + " " * 66_000 + "x",
        "b" + " " * 8_000 + "x",
        "permessage-deflate; a=" + '"' + "\\c" * 4_000,
        "permessage-deflate; a=" + '"' + "\\" * 8_001,
        "a" + "," * 8_000,
        "a" + ";" * 8_000,
        "a;b=" * 2_000,
        "\t ," * 2_700,
        ", ".join(["permessage-deflate; client_max_window_bits"] * 180),
        "a" * 8_100,
    ]
    names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection", "Upgrade"]
    for name in names:
        for value in values:
            with arena.peer() as peer, arena.bounds(cpu=5 * MS):
                outcome = peer.exchange(upgrade("/echo", f"{name}: {value}") + close_frame(1000))
            assert outcome.statuses[0] in (101, 400, 426, 431), (name, value[:30], outcome.statuses)
            assert outcome.ended


# -- W11, W17: chance -------------------------------------------------------------------------------


def random_head(chance: random.Random) -> bytes:
    """A handshake that something has happened to."""
    high = "".join(chr(chance.randrange(0x80, 0x100)) for _ in range(chance.randrange(1, 20)))
    names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin", "Cookie", "Host", "User-Agent"]
    names += ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection", "Upgrade", "X-Forwarded-For"]
    head = upgrade("/chosen", *[f"{chance.choice(names)}: {high}" for _ in range(chance.randrange(3))])
    kind = chance.randrange(8)
    if kind == 0:
        return upgrade("/echo", *[f"X-{number}: {high}" for number in range(chance.choice([90, 101, 2000]))])
    if kind == 1:  # a value is exchanged
        name = chance.choice(names)
        lines = head.split(b"\r\n")
        lines = [
            f"{name}: {high}".encode("latin-1") if line.lower().startswith(name.lower().encode()) else line
            for line in lines
        ]
        return b"\r\n".join(lines)
    if kind in (2, 3, 4):  # some octets are exchanged
        octets = bytearray(head)
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        return bytes(octets)
    if kind == 5:  # a line is missing, or is there twice
        lines = head.split(b"\r\n")
        at = chance.randrange(len(lines))
        return b"\r\n".join(
            lines[:at] + lines[at + 1 :] if chance.random() < 0.5 else lines[:at] + lines[at - 1 :]
        )
    if kind == 6:
        return head[: chance.randrange(len(head))]
    return head


def random_handshakes(arena: Arena) -> None:
    for _ in range(arena.choose(400, 10_000 // 3)):
        head = random_head(arena.chance)
        with arena.peer() as peer:
            if arena.chance.random() < 0.2:
                peer.send(head[: len(head) // 2])
                peer.reset()
                continue
            peer.send(head)
            peer.sock.shutdown(1)  # what is cut short need not wait for its time
            outcome = peer.exchange(b"", 3)
        assert outcome.ended, head
        for status in outcome.statuses:
            assert status in (101, 505) or 400 <= status < 500, (status, head)


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


# -- W19, W20, W21 --------------------------------------------------------------------------------------

FOREIGN = [
    "http://elsewhere.example",
    "null",
    "http://{host}.evil.example",
    "http://{name}evil.example",
    "http://evil.example/{host}",
    "https://{name}`evil.example",
    "https://{name}$evil.example",
    "http://{name}:1",
    "http://{name}",
    "http://user@{host}",
    "{host}",
    "http://{host}, http://{host}",
    "http://{host} ",
    "http://{host}/",
    "http://{host}:",
    "http://0x7f.1:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://test.host",
    "file://",
    "",
]
HARMLESS = {"http://{host} "}  # white space around a value is none of it (RFC 9110, section 5.5)


def foreign_origins(arena: Arena) -> None:
    host = f"127.0.0.1:{arena.port}"
    for origin in FOREIGN:
        value = origin.format(host=host, name="127.0.0.1", port=arena.port)
        with arena.peer() as peer:
            outcome = peer.exchange(upgrade("/ws", f"Origin: {value}", host=host), 2)
        if origin not in HARMLESS:
            assert (outcome.statuses, outcome.ended) == ([403], True), origin
    with arena.peer() as peer:
        two = upgrade("/ws", f"Origin: http://{host}", "Origin: http://evil.example", host=host)
        assert peer.exchange(two, 2).statuses in ([400], [403])
    for fields in ([], [f"Origin: http://{host}"]):
        with arena.peer() as peer:
            peer.send(upgrade("/ws", *fields, host=host))
            assert peer.head().startswith(b"HTTP/1.1 101 ")


def required_origin(arena: Arena) -> None:
    with arena.servers.start("--require-origin", engine=arena.engine, traced=False) as site:
        host = f"127.0.0.1:{site.port}"
        for fields, status in (([], 403), ([f"Origin: http://{host}"], 101)):
            with Peer(site.port) as peer:
                peer.send(upgrade("/ws", *fields, host=host))
                assert peer.head().startswith(b"HTTP/1.1 %d " % status)


def welch(one: list[float], other: list[float]) -> float:
    """Welch's t of two samples, without the slowest tenth, which belongs to the machine."""
    samples = [sorted(each)[: len(each) * 9 // 10] for each in (one, other)]
    spread = sum(variance(each) / len(each) for each in samples)
    return abs(fmean(samples[0]) - fmean(samples[1])) / math.sqrt(spread)


def no_comparison_that_stops(arena: Arena) -> None:
    """What is compared with a secret is compared by ``compare_digest`` alone."""
    tree = ast.parse(inspect.getsource(fastws.web.auth._Secrets))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Compare, ast.BoolOp))]
    calls = [node.func.attr for node in ast.walk(tree) if hasattr(getattr(node, "func", None), "attr")]
    assert calls.count("compare_digest") == 2


def guesses(arena: Arena) -> None:
    """How long a refusal takes says nothing of how near a guess was: in the long form, on a calm machine."""
    if not LONG:
        return
    basic, token = basic_auth("x", {"ann": "the-password-of-ann"}), token_auth("the-token-of-somebody")

    def asks(value: str) -> Request:
        return Request("GET", "/", headers=[("Authorization", value)])

    def with_basic(user: str, password: str) -> Request:
        return asks("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def word(size: int) -> str:
        return "".join(arena.chance.choices("abcdefghijklmnopqrstuvwxyz-", k=size))

    # Fresh guesses each time: two fixed ones would differ by where they lie in memory. But one user, for
    # many would differ from one by what the caches hold.
    kinds: list[tuple[Any, Callable[[], Request], Callable[[], Request]]] = [
        (
            basic,
            lambda: with_basic("ann", "the-password-of-an" + word(1).upper()),
            lambda: with_basic("ann", word(19)),
        ),
        (basic, lambda: with_basic("ann", word(19)), lambda: with_basic("bob", word(19))),
        (
            token,
            lambda: asks("Bearer the-token-of-somebod" + word(1).upper()),
            lambda: asks("Bearer " + word(21).upper()),
        ),
    ]
    clock = time.perf_counter
    for authorize, near, far in kinds:
        taken: tuple[list[float], list[float]] = ([], [])
        kind = [arena.chance.random() < 0.5 for _ in range(40_000)]
        # Made before the first is timed, for what making one leaves behind is measured too.
        guesses = [(which, near() if which else far()) for which in kind]
        for which, guess in guesses:
            started = clock()
            verdict = authorize(guess)
            taken[which].append(clock() - started)
            assert verdict is not None
        if (t := welch(*taken)) > 4.5:
            raise TooSlow(f"t is {t:.1f}: a refusal tells how near {near().headers} was")


def refusals(arena: Arena) -> None:
    """A real server: every wrong guess gets the same bytes, and the right one gets in."""
    answers = set()
    for value in ("YW5uOnRoZS1wYXNzd29yeA==", "Ym9iOnRoZS1wYXNzd29yZA==", "YW5uOg=="):
        with arena.peer() as peer:
            outcome = peer.exchange(upgrade("/basic", f"Authorization: Basic {value}"))
        assert (outcome.statuses, outcome.ended) == ([401], True), outcome
        answers.add(bytes(outcome.data))
    assert len(answers) == 1
    with arena.peer() as peer:
        peer.upgrade("/basic", "Authorization: Basic YW5uOnRoZS1wYXNzd29yZA==")
    for path in ("/token", "/token?token=the-tokem"):
        with arena.peer() as peer:
            assert peer.exchange(upgrade(path)).statuses == [401]
    with arena.peer() as peer:
        peer.upgrade("/token?token=the-token")
    assert "the-toke" not in arena.site.log()


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
