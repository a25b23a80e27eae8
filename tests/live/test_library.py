"""What the protocol asks of any server, seen by clients that were not written here."""

from __future__ import annotations

import pytest

from tests.live import raw
from tests.live.foreign import Foreign, ending
from tests.live.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_frame, frame
from tests.live.servers import Site

pytestmark = [pytest.mark.live, pytest.mark.foreign]


async def test_pings_and_closes_come_back(client: Foreign, site: Site) -> None:
    for payload in (b"", b"12", b"\x00\xff" * 62 + b"."):
        peer = await client.connect(site, "/echo")
        if client.name != "websockets" or payload:
            await peer.ping(payload)
        assert (await peer.close(3333, "why not")).code == 3333


VIOLATIONS: list[tuple[str, bytes, int]] = [
    ("unmasked", frame(TEXT, b"x", mask=None), 1002),
    *[(f"reserved bit {bit}", frame(TEXT, b"x", rsv=bit), 1002) for bit in (1, 2, 4)],
    *[(f"opcode {opcode}", frame(opcode, b"x"), 1002) for opcode in (3, 7, 11, 15)],
    ("a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    ("a ping in fragments", frame(PING, b"x", fin=False), 1002),
    ("a close in fragments", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    ("a fragment of nothing", frame(CONTINUATION, b"x"), 1002),
    ("a message within a message", frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"), 1002),
    ("too much", raw.header(BINARY, 1 << 20 | 1), 1009),
    ("too much in fragments", frame(BINARY, b"x" * 1000, fin=False) + raw.header(0, 1 << 20), 1009),
    ("text that is no UTF-8", frame(TEXT, b"caf\xe9!"), 1007),
    ("half a surrogate pair", frame(TEXT, b"\xed\xa0\x80"), 1007),
    ("half a character at the end", frame(TEXT, b"x\xe2", fin=False) + frame(CONTINUATION, b"\x82"), 1007),
    ("a close with half a code", frame(CLOSE, b"\x03"), 1002),
    ("a reason that is no UTF-8", close_frame(1000, b"\xff"), 1007),
]


@pytest.mark.parametrize(("data", "code"), [v[1:] for v in VIOLATIONS], ids=[v[0] for v in VIOLATIONS])
async def test_violations_are_closed_with_their_code(
    data: bytes, code: int, client: Foreign, site: Site
) -> None:
    peer = await client.connect(site, "/echo")
    peer.write_raw(data)
    assert (await ending(peer)).code == code


async def test_which_close_codes_are_accepted(client: Foreign, site: Site) -> None:
    accepted = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
    refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535]
    for code in accepted + refused:
        peer = await client.connect(site, "/echo")
        peer.write_raw(close_frame(code, b"said so"))
        assert (code, (await ending(peer)).code) == (code, code if code in accepted else 1002)


async def test_the_end_without_a_close_frame_is_1006(fresh: Site, client: Foreign) -> None:
    peer = await client.connect(fresh, "/echo")
    await peer.send("x")
    await peer.receive()
    peer.abort()
    await fresh.logged("closed 1006 by peer")
