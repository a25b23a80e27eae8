"""What strangers send on a WebSocket, and what must come back, byte by byte, on each engine.

The rows have the numbers of the project's catalogue of attacks. A new advisory is a new row. A
normal client echoes beside all of them. Bounds of time are of CPU, so that other work on the machine
does not count, and bind the C engine alone; what must come back, and memory, bind both.
"""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import fastws
from tests.live.hostile import DEFLATE, LIMIT, MS, bounded, many, under_attack
from tests.live.process import MIB, cpu_seconds, eventually, open_files, settled_files, watch
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
    header,
    upgrade,
)
from tests.live.servers import ENGINES, Servers, Site, needs_engine

pytestmark = pytest.mark.live


#: Both loops are attacked, each with one of the engines.
LOOP = {"c": "auto", "wsproto": "asyncio"}


@pytest.fixture(scope="module", params=ENGINES)
def site(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Site]:
    needs_engine(request.param)
    with under_attack(servers, request.param, LOOP[request.param]) as site:
        yield site


# -- WebSocket: bytes on an open connection, and the close that answers them ---------------------


@dataclass(frozen=True)
class Attack:
    row: str
    what: str
    #: Sent behind the handshake, on /echo.
    send: Callable[[], bytes]
    #: The codes of which one must be in the close frame.
    codes: tuple[int, ...]
    #: CPU seconds that it may cost the server.
    cpu: float = 50 * MS
    #: Bytes by which the server may grow.
    grows: int = MIB // 2
    fields: tuple[str, ...] = ()


def literal(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def fragments(opcode: int, payload: bytes, count: int) -> bytes:
    """The beginning of a message that never ends."""
    return frame(opcode, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * (count - 1)


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb() -> bytes:
    """50 KB that become 50 MiB."""
    return deflated(bytes(50 * MIB))


def in_fragments(payload: bytes, count: int) -> bytes:
    step = len(payload) // count + 1
    parts = [payload[start : start + step] for start in range(0, len(payload), step)]
    first, *middle, last = parts
    return (
        frame(BINARY, first, fin=False, rsv=4)
        + b"".join(frame(CONTINUATION, part, fin=False) for part in middle)
        + frame(CONTINUATION, last)
    )


ATTACKS = [
    Attack(
        "W1",
        "300,000 fragments of one byte",
        lambda: fragments(BINARY, b"x", 300_000),
        (1008, 1009),
        1,
        2 * MIB,
    ),
    Attack("W2", "300,000 empty fragments", lambda: fragments(BINARY, b"", 300_000), (1008,), 1, MIB),
    Attack("W4", "a frame of 1 GiB, announced", literal(header(BINARY, 1 << 30)), (1009,)),
    Attack("W4", "a byte too much, announced", literal(header(TEXT, LIMIT + 1)), (1009,)),
    *[
        Attack(
            "W5", f"a frame of {size:#x} bytes {place}", literal(before + header(opcode, size)), (1002, 1009)
        )
        for size in (1 << 63, (1 << 63) - 1, (1 << 64) - 1)
        for place, before, opcode in (
            ("alone", b"", BINARY),
            ("in a message", frame(BINARY, b"x", fin=False), 0),
        )
    ],
    Attack("W5", "125 in 16 bits", literal(b"\x82\xfe\x00\x7d" + bytes(129)), (1002,)),
    Attack("W5", "65,535 in 64 bits", literal(b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4)), (1002,)),
    *[
        Attack("W6", f"opcode {opcode} with 2**40 bytes", literal(header(opcode, 1 << 40)), (1002,))
        for opcode in (*range(3, 8), *range(11, 16))
    ],
    Attack(
        "W7",
        "50 KB that inflate to 50 MiB",
        lambda: frame(BINARY, bomb(), rsv=4),
        (1009,),
        100 * MS,
        2 * MIB,
        (DEFLATE,),
    ),
    Attack(
        "W7",
        "the same in 1,000 fragments",
        lambda: in_fragments(bomb(), 1000),
        (1009,),
        100 * MS,
        2 * MIB,
        (DEFLATE,),
    ),
    *[
        Attack("W9", f"reserved bit {bit}, not agreed on", literal(frame(TEXT, b"x", rsv=bit)), (1002,))
        for bit in (1, 2, 4)
    ],
    *[
        Attack(
            "W9",
            f"RSV1 on opcode {opcode}",
            literal(frame(opcode, b"\x03\xe8", rsv=4)),
            (1002,),
            fields=(DEFLATE,),
        )
        for opcode in (CLOSE, PING, PONG)
    ],
    Attack(
        "W9",
        "RSV1 on a continuation",
        literal(frame(TEXT, b"x", fin=False, rsv=4) + frame(CONTINUATION, b"x", rsv=4)),
        (1002,),
        fields=(DEFLATE,),
    ),
    Attack("W9", "RSV2 beside RSV1", literal(frame(TEXT, b"x", rsv=6)), (1002,), fields=(DEFLATE,)),
    Attack("W13", "an unmasked frame", literal(frame(TEXT, b"x", mask=None)), (1002,)),
    Attack("W13", "an unmasked close", literal(frame(CLOSE, b"\x03\xe8", mask=None)), (1002,)),
    Attack("W14", "a ping of 126 bytes", literal(frame(PING, bytes(126))), (1002,)),
    Attack("W14", "a ping that is a fragment", literal(frame(PING, b"x", fin=False)), (1002,)),
    Attack("W14", "a continuation of nothing", literal(frame(CONTINUATION, b"x")), (1002,)),
    Attack(
        "W14", "a message inside a message", literal(fragments(TEXT, b"x", 2) + frame(TEXT, b"y")), (1002,)
    ),
    Attack("W15", "a close of one byte", literal(frame(CLOSE, b"\x03")), (1002,)),
    *[
        Attack("W15", f"a close with {code}", literal(close_frame(code)), (1002,))
        for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535)
    ],
    Attack("W15", "a reason that is no UTF-8", literal(close_frame(1000, b"\xc3\x28")), (1007,)),
    Attack("W15", "data behind the close", literal(close_frame(1000) + frame(TEXT, b"x") * 1000), (1000,)),
    *[
        # Fragments without an end: the answer must not wait for one.
        Attack("W16", what, literal(frame(TEXT, b"good " + data, fin=False)), (1007,))
        for what, data in (
            ("a lone continuation byte", b"\x80"),
            ("a sequence cut short", b"\xe2\x28\xa1"),
            ("an overlong slash", b"\xc0\xaf"),
            ("an overlong NUL", b"\xe0\x80\x80"),
            ("half a surrogate pair", b"\xed\xa0\x80"),
            ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
            ("0xff", b"\xff"),
        )
    ],
    Attack("W16", "half a character at the end", literal(frame(TEXT, "€".encode()[:2])), (1007,)),
    Attack(
        "W16",
        "a bad byte, then 1 MiB of text",
        literal(frame(TEXT, b"\xff", fin=False) + frame(CONTINUATION, b"x" * (LIMIT - 1))),
        (1007,),
    ),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.row} {attack.what}")
def test_websocket(attack: Attack, site: Site) -> None:
    data = attack.send()
    with Peer(site.port).upgrade("/echo", *attack.fields) as peer, watch(site.pid) as watched:
        outcome = peer.exchange(data)
    assert outcome.code in attack.codes
    assert outcome.ended and not outcome.reset
    # The close frame is the last thing said, and an attack is not echoed.
    assert outcome.frames[-1].opcode == CLOSE
    assert [each.opcode for each in outcome.frames] == [CLOSE]
    assert watched.rss_grown <= attack.grows
    bounded(site, watched.cpu, attack.cpu)


def test_w1_a_hundred_unfinished_messages(site: Site) -> None:
    data = fragments(BINARY, b"x", 16_000)
    count = 100 if site.engine == "c" else 10
    with many(site, count) as peers, watch(site.pid) as watched:
        for peer in peers:
            peer.upgrade().send(data)
        for peer in peers:
            # What was sent before is read: the pong says so.
            peer.send(frame(PING, b"?"))
            assert peer.frame().opcode == PONG
    assert watched.rss_grown < count * MIB // 2


def test_w2_what_is_no_flood_of_fragments_goes_on(site: Site) -> None:
    """A count that is never set back would end a long-lived connection."""
    whole, halves = frame(TEXT, b"x"), frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")
    with Peer(site.port).upgrade() as peer:
        outcome = peer.exchange(whole * 100_000 + halves * 10_000 + close_frame(1000), 30)
    assert outcome.code == 1000
    echoed = outcome.frames
    assert [each.payload for each in echoed[:-1]] == [b"x"] * 100_000 + [b"ab"] * 10_000


@pytest.mark.slow
def test_w3_a_message_byte_by_byte(site: Site) -> None:
    size = LIMIT if site.engine == "c" else LIMIT // 8
    data = frame(BINARY, bytes(range(256)) * (size // 256))
    with Peer(site.port).upgrade() as peer, watch(site.pid) as watched:
        send = peer.sock.send
        for position in range(len(data)):
            send(data[position : position + 1])
        assert peer.frame().payload == bytes(range(256)) * (size // 256)
    assert watched.rss_grown <= 2 * MIB
    bounded(site, watched.cpu, 5)


BLOCKS = {
    "empty stored blocks": b"\x00\x00\x00\xff\xff",
    "final blocks": b"\x03\x00",
    "empty fixed blocks": b"\x02",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=list(BLOCKS))
def test_w8_inflating_is_linear(block: bytes, site: Site) -> None:
    spent = []
    for size in (LIMIT // 10, LIMIT - 16):
        data = frame(BINARY, block * (size // len(block)), rsv=4) + close_frame(1000)
        with Peer(site.port).upgrade("/echo", DEFLATE) as peer, watch(site.pid) as watched:
            outcome = peer.exchange(data)
        assert outcome.code in (1000, 1002, 1007)
        spent.append(watched.cpu)
    bounded(site, spent[1], 100 * MS)
    assert spent[1] <= 15 * spent[0] + 50 * MS


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
]


@pytest.mark.parametrize("offer", OFFERS)
def test_w9_offers_that_are_none_are_declined(offer: str, site: Site) -> None:
    with Peer(site.port) as peer:
        peer.send(upgrade("/echo", f"Sec-WebSocket-Extensions: {offer}"))
        head = peer.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-extensions" not in head.lower()
        peer.send(frame(TEXT, b"x"))
        assert peer.frame().payload == b"x"


def flood_of(opcode: int) -> bytes:
    return frame(opcode, bytes(125)) * (21_000_000 // 131)


def test_w12_pings_for_one_who_never_reads(site: Site) -> None:
    with Peer(site.port).upgrade() as peer, watch(site.pid) as watched:
        peer.sock.settimeout(1)
        with pytest.raises((TimeoutError, ConnectionError)):
            peer.send(flood_of(PING))
    assert watched.rss_grown <= 2 * MIB


def test_w12_pongs_nobody_asked_for(site: Site) -> None:
    with Peer(site.port).upgrade() as peer, watch(site.pid) as watched:
        outcome = peer.exchange(flood_of(PONG) + close_frame(1000), 20)
        assert outcome.code == 1000
    assert watched.rss_grown <= MIB // 2


CHARACTERS = ["é", "߿", "ࠀ", "€", "퟿", "\ue000", "\uffff", "𐀀", "🐍", "\U0010ffff"]


@pytest.mark.parametrize("between", ["fragments", "reads"])
def test_w16_every_split_of_a_character_is_put_together(between: str, site: Site) -> None:
    with Peer(site.port).upgrade() as peer:
        for character in CHARACTERS:
            data = character.encode()
            for cut in range(1, len(data)):
                if between == "fragments":
                    peer.send(frame(TEXT, data[:cut], fin=False))
                    peer.send(frame(CONTINUATION, data[cut:]))
                else:
                    whole = frame(TEXT, data)
                    peer.send(whole[: 6 + cut])
                    time.sleep(0.002)
                    peer.send(whole[6 + cut :])
                assert peer.frame().payload == data


# The engine has no part in it.
@pytest.mark.parametrize("site", ENGINES[:1], indirect=True)
async def test_w15_who_does_not_end_tcp_is_cut(site: Site) -> None:
    """The server waits 5 s for the other side of the close, whoever began it."""
    before = await settled_files(site.pid)
    with many(site, 3) as peers:
        for peer, data in zip(peers, [close_frame(1000), frame(3), frame(TEXT, b"\xff")], strict=True):
            peer.upgrade().send(data)
            assert peer.frame().opcode == CLOSE
        started = time.monotonic()
        assert await eventually(lambda: open_files(site.pid) == before, 7)
        assert time.monotonic() - started < 6


async def test_w13_our_client_takes_no_masked_frame() -> None:
    """The other role: a server that masks."""
    codes = []

    async def masks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        writer.write(accepted(key.split()[1].decode()) + frame(TEXT, b"masked"))
        data = await reader.read(100)
        assert data[:2] == b"\x88" + bytes([data[1]])
        codes.append(bytes(a ^ b for a, b in zip(data[6:8], data[2:6], strict=False)))
        writer.close()

    async with await asyncio.start_server(masks, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with fastws.connect(url) as ws:
            with pytest.raises(fastws.ConnectionClosedError) as closed:
                await ws.recv()
    assert closed.value.code == 1002
    assert codes == [(1002).to_bytes(2, "big")]


FOREIGN = [
    "http://elsewhere.example",
    "null",
    "http://{host}.evil.example",
    "http://{name}evil.example",
    "http://evil.example/{host}",
    "https://{name}`evil.example",
    "http://{name}:1",
    "http://{name}",
    "http://user@{host}",
    "{host}",
    "http://{host}, http://{host}",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_w19_foreign_origins_are_refused(origin: str, site: Site) -> None:
    host = f"127.0.0.1:{site.port}"
    field_value = origin.format(host=host, name="127.0.0.1")
    with Peer(site.port) as peer:
        outcome = peer.exchange(upgrade("/ws", f"Origin: {field_value}", host=host))
    assert (outcome.statuses, outcome.ended) == ([403], True)


STREAM = (
    upgrade("/ws", DEFLATE)
    + frame(TEXT, b"hello")
    + frame(TEXT, deflated(b"x" * 400), rsv=4)
    + frame(PING, b"?")
    + fragments(BINARY, b"abc", 2)
    + frame(CONTINUATION, b"def")
    + frame(3)
)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_w17_resets_anywhere(seed: int, site: Site) -> None:
    """What is left of it, and a traceback in the log, is looked for when the module ends."""
    chance = random.Random(seed)
    with watch(site.pid) as watched:
        for _ in range(200):
            cut = chance.choice([len(STREAM), chance.randrange(len(STREAM))])
            with Peer(site.port) as peer:
                peer.send(STREAM[:cut])
                if chance.random() < 0.3:
                    time.sleep(0.001)
                if chance.random() < 0.8:
                    peer.reset()
    assert watched.rss_grown < MIB
    before = cpu_seconds(site.pid)
    time.sleep(0.2)
    bounded(site, cpu_seconds(site.pid) - before, 0)
