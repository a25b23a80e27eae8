"""What strangers send for HTTP, what is refused, and that nothing behind it is taken for a request.

The rows have the numbers of the project's catalogue of attacks. A new advisory is a new row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live.hostile import MS, bounded, many, request, under_attack
from tests.live.process import MIB, watch
from tests.live.raw import BINARY, PING, TEXT, Peer, close_frame, frame, upgrade
from tests.live.servers import Servers, Site

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def site(servers: Servers) -> Iterator[Site]:
    with under_attack(servers, None) as site:
        yield site


NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class BadRequest:
    row: str
    what: str
    send: bytes
    statuses: tuple[int, ...] = (400,)


def with_body(*fields: str, body: bytes = b"0\r\n\r\n", version: str = "HTTP/1.1") -> bytes:
    return request("/healthz", *fields, version=version) + body


CHUNKED = "Transfer-Encoding: chunked"

BAD_REQUESTS = [
    *[
        BadRequest(
            "H1",
            " + ".join(fields) + (f" in {version}" if version != "HTTP/1.1" else ""),
            with_body(*fields, version=version),
            (400, 501),
        )
        for version, fields in (
            ("HTTP/1.1", (CHUNKED, "Content-Length: 5")),
            ("HTTP/1.1", ("Content-Length: 5", CHUNKED)),
            ("HTTP/1.1", (CHUNKED, CHUNKED)),
            ("HTTP/1.1", (CHUNKED, "Transfer-Encoding: identity")),
            ("HTTP/1.1", ("Transfer-Encoding: chunked, identity",)),
            ("HTTP/1.1", ("Transfer-Encoding: identity, chunked",)),
            ("HTTP/1.1", ("Transfer-Encoding: ,chunked",)),
            ("HTTP/1.1", ("Transfer-Encoding: xchunked",)),
            ("HTTP/1.1", ("Transfer-Encoding: gzip",)),
            ("HTTP/1.1", ("Transfer-Encoding:",)),
            ("HTTP/1.1", ("Transfer-Encoding: \x0bchunked",)),
            ("HTTP/1.1", ("Transfer-Encoding : chunked",)),
            ("HTTP/1.1", ("Transfer-Encoding:\r\n chunked",)),
            ("HTTP/1.0", (CHUNKED,)),
        )
    ],
    *[
        BadRequest("H2", f"Content-Length: {value!r}", with_body(f"Content-Length: {value}", body=b"x" * 10))
        for value in (
            "+5",
            "-1",
            "010",
            "1_0",
            "0x5",
            "",
            "5,5",
            "5;6",
            "5 5",
            "1e1",
            "9" * 20,
            "\xb2",
            "\xd9\xa5",
        )
    ],
    BadRequest("H2", "two lengths", with_body("Content-Length: 5", "Content-Length: 6", body=b"x" * 6)),
    *[
        BadRequest(
            "H2",
            f"a chunk of {size!r}",
            with_body(CHUNKED, body=size.encode("latin-1") + b"\r\nxxxxx\r\n0\r\n\r\n"),
        )
        for size in ("+5", "-5", "0x5", "5_0", "", " 5", "\xb2", "g", "F" * 20)
    ],
    BadRequest("H3", "no CRLF behind a chunk", with_body(CHUNKED, body=b"5\r\nxxxxxyy0\r\n\r\n")),
    BadRequest("H3", "LF alone behind a size", with_body(CHUNKED, body=b"5\nxxxxx\r\n0\r\n\r\n")),
    BadRequest("H3", "LF in an extension", with_body(CHUNKED, body=b"5;a\nb\r\nxxxxx\r\n0\r\n\r\n")),
    BadRequest("H3", "CR in an extension", with_body(CHUNKED, body=b"5;a\rb\r\nxxxxx\r\n0\r\n\r\n")),
    BadRequest(
        "H3", "an endless extension", with_body(CHUNKED, body=b"5;" + b"x" * 5000 + b"\r\nxxxxx\r\n0\r\n\r\n")
    ),
    BadRequest(
        "H3", "endless trailers", with_body(CHUNKED, body=b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n"), (400, 431)
    ),
    *[
        BadRequest("H4", f"an upgrade with {name}", upgrade("/echo", name) + b"0\r\n\r\n")
        for name in (CHUNKED, "Content-Length: 5")
    ],
    *[
        BadRequest("H5", f"{octet!r} in a value", request("/healthz", f"X-A: a{octet}b"))
        for octet in ("\0", "\r", "\n", "\x01", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x7f")
    ],
    *[
        BadRequest("H5", f"the field {line!r}", request("/healthz", line))
        for line in (
            "X-A : b",
            " X-A: b",
            ": b",
            "X[]: b",
            "X-A",
            "X-A: b\r\n folded",
            "X\x00A: b",
            "X-\xe9: b",
        )
    ],
    BadRequest("H5", "no Host", b"GET /healthz HTTP/1.1\r\n\r\n"),
    BadRequest("H5", "two Hosts", request("/healthz", "Host: y")),
    BadRequest("H5", "LF alone ends lines", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
    BadRequest("H5", "HTTP/9.9", request("/healthz", version="HTTP/9.9"), (400, 505)),
    BadRequest("H5", "http/1.1", request("/healthz", version="http/1.1"), (400, 505)),
    BadRequest("H5", "tabs", b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    BadRequest("H5", "two spaces", b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    BadRequest("H5", "no version", b"GET /healthz\r\n\r\n", (400, 505)),
    BadRequest("H5", "NUL in the path", b"GET /health\0z HTTP/1.1\r\nHost: x\r\n\r\n"),
    BadRequest("H5", "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    BadRequest("H6", "a field of 20 kB", request("/healthz", "X-A: " + "x" * 20_000), (431,)),
    BadRequest("H6", "a path of 20 kB", request("/" + "x" * 20_000), (414,)),
    BadRequest("H6", "101 fields", request("/healthz", *["X-A: b"] * 100), (431,)),
    BadRequest("H6", "2,000 fields", request("/healthz", *["X-A: b"] * 2000), (431,)),
]


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: f"{bad.row} {bad.what}"[:60])
def test_http(bad: BadRequest, site: Site) -> None:
    with Peer(site.port) as peer, watch(site.pid) as watched:
        outcome = peer.exchange(bad.send + NEXT)
    assert len(outcome.statuses) == 1 and outcome.statuses[0] in bad.statuses
    assert outcome.ended and not outcome.reset
    assert b"connection: close" in outcome.data.lower()
    assert watched.rss_grown <= MIB // 2
    bounded(site, watched.cpu, 50 * MS)


@pytest.mark.parametrize("bad", ["+5", "F" * 17])
def test_h3_the_rest_of_a_refused_body_is_no_request(bad: str, site: Site) -> None:
    data = with_body(CHUNKED, body=b"5\r\nxxxxx\r\n%s\r\n" % bad.encode()) + NEXT * 3
    with Peer(site.port) as peer:
        assert peer.exchange(data).statuses == [400]


def test_h3_chunks_of_one_byte_are_cheap(site: Site) -> None:
    body = b"1\r\nx\r\n" * 100_000 + b"0\r\nX-Trailer: dropped\r\n\r\n"
    with Peer(site.port) as peer, watch(site.pid) as watched:
        outcome = peer.exchange(with_body(CHUNKED, "Connection: close", body=body))
    assert outcome.statuses == [200]
    assert watched.rss_grown <= MIB
    bounded(site, watched.cpu, 0.2)


def test_h4_frames_behind_a_refused_upgrade_are_no_request(site: Site) -> None:
    early = frame(TEXT, NEXT) + NEXT
    for head, status in (
        (upgrade("/echo", "Origin: http://elsewhere.example"), 403),
        (upgrade("/nowhere"), 404),
        (upgrade("/echo").replace(b"Version: 13", b"Version: 12"), 426),
    ):
        with Peer(site.port) as peer:
            outcome = peer.exchange(head + early)
        assert (outcome.statuses, outcome.ended) == ([status], True)


def test_h4_frames_that_came_with_the_handshake_are_not_lost(site: Site) -> None:
    early = frame(TEXT, b"early") + frame(BINARY, bytes(70_000)) + frame(PING, b"too")
    data = upgrade("/echo") + early
    for cut in (len(data), len(upgrade("/echo")), len(upgrade("/echo")) + 3, 20):
        with Peer(site.port) as peer:
            peer.send(data[:cut])
            time.sleep(0.01)
            peer.send(data[cut:])
            assert peer.head().startswith(b"HTTP/1.1 101 ")
            assert [peer.frame().payload for _ in range(3)] == [b"early", bytes(70_000), b"too"]


@pytest.mark.parametrize("size", [20_000, 15_000])
def test_h6_a_head_byte_by_byte_is_linear(size: int, site: Site) -> None:
    """A head that is parsed again with each byte takes minutes."""
    with Peer(site.port) as peer, watch(site.pid) as watched:
        data = request("/healthz", *["X-A: " + "x" * 4990] * (size // 5000), "Connection: close")
        for position in range(len(data)):
            try:
                peer.sock.send(data[position : position + 1])
            except OSError:
                break
        outcome = peer.exchange(b"")
    assert outcome.statuses == [431 if size > 16 * 1024 else 200]
    # Each of these bytes is a read of its own: the rest of the bound is the kernel's.
    bounded(site, watched.cpu, 0.5)


@pytest.mark.slow
async def test_h6_a_head_that_never_ends_has_ten_seconds(site: Site) -> None:
    """All of it, however often a byte comes."""
    data = request("/healthz", "X-A: slow")
    with many(site, 20) as peers:
        started = time.monotonic()
        for position in range(5):
            for peer in peers:
                peer.send(data[position : position + 1])
            await asyncio.sleep(2)
        for peer in peers:
            outcome = await asyncio.to_thread(peer.exchange, b"", 2)
            assert outcome.ended
            assert outcome.statuses in ([], [408])
            assert 9 < time.monotonic() - started < 11.5


def test_h8_pipelined_requests_wait_their_turn(site: Site) -> None:
    """10,000 requests from one who does not read: the server stops reading, then answers in order."""
    paths = ["/chat", "/healthz", "/nowhere"]
    # More than the sockets hold.
    padding = "X-Padding: " + "x" * 1000
    data = b"".join(request(paths[number % 3], padding) for number in range(9999))
    data += request("/healthz", "Connection: close")
    with Peer(site.port) as peer, watch(site.pid) as watched:
        peer.sock.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += peer.sock.send(data[sent : sent + 65536])
        assert sent < len(data)
        outcome = peer.exchange(data[sent:], 20)
    assert outcome.statuses == [200, 200, 404] * 3333 + [200]
    assert watched.rss_grown <= 2 * MIB


def test_h10_nobody_forges_a_line_of_the_log(site: Site) -> None:
    attacks = [
        request("/%1b[31m%0d%0aFAKE%20LINE", "Connection: close", "User-Agent: \x1b[31mred"),
        request('/"200"\\', "Connection: close"),
        request("/%e2%80%a8line%c2%85separators", "Connection: close"),
        request("/\x1b[31m", "Connection: close"),
        request("/caf\xe9", "Connection: close"),
        upgrade("/echo") + close_frame(1000, b'\x1b[31m\r\nFAKE "WS"'),
    ]
    before = len(site.child.stdout())
    for data in attacks:
        with Peer(site.port) as peer:
            assert peer.exchange(data).ended
    time.sleep(0.1)
    logged = site.child.out.read_bytes()[before:]
    lines = logged.decode("ascii").split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(attacks)
    assert all(line.isprintable() and not line.startswith("FAKE") for line in lines)


def test_h11_errors_say_nothing_of_the_request(site: Site) -> None:
    bodies = set()
    for path in ("/nowhere", "/<script>alert(1)</script>", "/%3Cscript%3E"):
        with Peer(site.port) as peer:
            peer.send(request(path))
            head, body = peer.response()
            assert b"x-content-type-options: nosniff" in head.lower()
            bodies.add(body)
    assert len(bodies) == 1
