"""Heads of requests to upgrade, read in C: never anything that the gate, h11 and check_upgrade refuse.

Those are the reference; the same bytes go to both, valid, hostile and mutated, and what the reader in C
takes has to be what they take, with the same values. ``FASTWS_DIFFERENTIAL_EXAMPLES=1000000`` is the
nightly form.
"""

from __future__ import annotations

import os
import re
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fastws.protocol.http
from fastws.config import Limits
from fastws.protocol.http import fast_upgrade
from fastws.protocol.http.messages import Request
from fastws.protocol.http.server import ServerHTTP
from fastws.protocol.websocket import handshake
from tests.blocks import blocks_kept
from tests.protocol.http.cases import ACCEPTED, HOSTS, REFUSED, UPGRADE_FIELDS
from tests.rows import all_rows

try:
    from fastws.protocol.http import _heads
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("the C engine is not built", allow_module_level=True)

#: The nightly form takes its time; Hypothesis would call a timeout a fault that comes and goes.
IS_NIGHTLY = "FASTWS_DIFFERENTIAL_EXAMPLES" in os.environ
pytestmark = [pytest.mark.timeout(0)] if IS_NIGHTLY else []

LIMITS = Limits()
SMALL = Limits(max_head_size=400, max_line_size=60, max_headers=8)
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = [b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade", KEY, b"Sec-WebSocket-Version: 13"]


def head(*more: bytes, target: bytes = b"/", fields: list[bytes] = FIELDS) -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *fields, *more]) + b"\r\n\r\n"


def instead(old: bytes, *new: bytes) -> bytes:
    """A good head in which one field is another, several, or none."""
    return head(*new, fields=[field for field in FIELDS if not field.startswith(old + b":")])


LARGE = [b"A: " + b"b" * 8000, b"B: " + b"b" * 1000]

#: What clients send. All of them must be read in C: one that is not costs three times as much.
USUAL = {
    "least": head(),
    "query": head(target=b"/a/b;c?d=%20&e=http://x/#".rstrip(b"#")),
    "Chromium": head(
        b"Pragma: no-cache", b"Cache-Control: no-cache", b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
        b"Origin: http://x", b"Accept-Encoding: gzip, deflate, br, zstd", b"Accept-Language: en-US,en;q=0.9",
        b"Cookie: a=b; c=d", b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ),
    "Firefox": instead(b"Connection", b"Connection: keep-alive, Upgrade"),
    "a proxy": head(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https"),
    "proto alone": head(b"x-forwarded-proto: https"),
    "subprotocols": head(b"Sec-WebSocket-Protocol: a, b"),
    "other cases": head().replace(b"Sec-W", b"sEC-w").replace(b"Host", b"HOST").replace(b"websoc", b"WebSoc"),
    "no spaces": head().replace(b": ", b":"),
    "many spaces": head(b"Origin: \t ").replace(b": ", b": \t").replace(b"\r\n", b" \t\r\n").replace(
        b"HTTP/1.1 \t", b"HTTP/1.1").replace(b"\r\n \t\r\n", b"\r\n\r\n"),
    "two Connections": instead(b"Connection", b"Connection: close", b"Connection: ,upgrade"),
    "a list of upgrades": instead(b"Upgrade", b"Upgrade: h2c, websocket"),
    "latin-1": head(b"A: \xe9\xff", b"Origin: http://\xe9", b"Sec-WebSocket-Protocol: \xe9"),
    "empty values": head(b"A:", b"Origin:", b"Sec-WebSocket-Extensions:", b"Sec-WebSocket-Protocol:"),
    "IPv6 Host": instead(b"Host", b"Host: [::1]:8080"),
    "empty Host": instead(b"Host", b"Host:"),
    "Host with an empty port": instead(b"Host", b"Host: x:"),
    "names that are nearly known": head(
        b"Hosts: y", b"Hort: y", b"Expecu: y", b"Content-Lengtj: 5", b"Transfer-Encodinf: chunked",
        b"Sec-WebSocket-Kez: x", b"X-Forwarded-Fos: y", b"Origim: y", b"Upgrad: x", b"Connectiom: x",
    ),
    "100 fields": head(*[b"a: b"] * 95),
    "the longest line": head(b"A: " + b"b" * 8189),
    "the largest head": head(*LARGE, b"C: " + b"b" * (16384 - len(head(*LARGE)) - 5)),
}  # fmt: skip

#: Good ones that are left to the gate, for they are rare or need more work.
UNUSUAL = {
    "a path to be decoded": head(target=b"/a%20b"),
    "a whole URL": head(target=b"http://x/a"),
    "an empty line before": b"\r\n" + head(),
    "no body, said so": head(b"Content-Length: 0"),
    "an expectation": head(b"Expect: 100-continue"),
    "two Upgrades": head(b"Upgrade: h2c"),
    "two Extensions": head(b"Sec-WebSocket-Extensions: a", b"Sec-WebSocket-Extensions: b"),
    "two Protocols": head(b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: b"),
}

#: What check_upgrade refuses, though it is good HTTP.
NO_UPGRADE = {
    "another version": instead(b"Sec-WebSocket-Version", b"Sec-WebSocket-Version: 14"),
    "two versions": head(b"Sec-WebSocket-Version: 13"),
    "a list of versions": instead(b"Sec-WebSocket-Version", b"Sec-WebSocket-Version: 13, 8"),
    "no version": instead(b"Sec-WebSocket-Version"),
    "a short key": instead(b"Sec-WebSocket-Key", KEY[:-3] + b"=="),
    "a long key": instead(b"Sec-WebSocket-Key", KEY[:-2] + b"a=="),
    "no base64": instead(b"Sec-WebSocket-Key", KEY.replace(b"d", b"-")),
    "a key without its end": instead(b"Sec-WebSocket-Key", KEY[:-1] + b"a"),
    "two keys": head(KEY),
    "no key": instead(b"Sec-WebSocket-Key"),
    "two origins": head(b"Origin: http://x", b"Origin: http://x"),
    "no Connection": instead(b"Connection"),
    "another Connection": instead(b"Connection", b"Connection: upgrades, up grade, keep-alive"),
    "another Upgrade": instead(b"Upgrade", b"Upgrade: websockets, web socket"),
    "no Upgrade": instead(b"Upgrade"),
    "HTTP/1.0": head().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "POST": head().replace(b"GET", b"POST"),
    "101 fields": head(*[b"a: b"] * 96),
    "a line too long": head(b"A: " + b"b" * 8190),
    "a target too long": head(target=b"/" + b"a" * 8179),
    "a head too large": head(*LARGE, b"C: " + b"b" * (16384 - len(head(*LARGE)) - 4)),
    **{f"Host {value!r}": instead(b"Host", b"Host: " + value) for value in HOSTS},
    "Host []": instead(b"Host", b"Host: []"),
}

Values = tuple[str, str, str, str, str, bytes, list[tuple[str, str]], tuple[object, ...]]


def values(request: Request) -> Values:
    names = ("key", "host", "origin", "extensions", "subprotocols", "forwarded")
    offer = tuple(getattr(request.offer, name) for name in names)
    plain = request.method, request.target, request.path, request.http_version, request.scheme
    return (*plain, request.raw_head, request.headers.items(), offer)


def by_reference(data: bytes, limits: Limits) -> Values | None:
    """What the gate, h11 and check_upgrade make of it; None when they refuse or want more."""
    http = ServerHTTP(limits)
    http.receive(data)
    request = http.next_event()
    if not isinstance(request, Request) or handshake.check_upgrade(request, origins=frozenset("*")):
        return None
    assert http.trailing() == data[data.index(request.raw_head) + len(request.raw_head) :]
    return values(request)


@pytest.fixture(autouse=True)
def in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever engine was chosen."""
    monkeypatch.setattr(fast_upgrade, "_read", _heads.read_upgrade)


def by_reader(data: bytes, limits: Limits) -> Values | None:
    # In a buffer that is longer, as a read comes.
    request = fast_upgrade.read_upgrade(memoryview(data + b"\r\n\r\nGET"), len(data), limits)
    return None if request is None else values(request)


def compare(data: bytes, limits: Limits) -> bool:
    """Hold the reader to the reference; True when it took the head."""
    read = by_reader(data, limits)
    if read is not None:
        assert read == by_reference(data, limits)
    return read is not None


def test_what_clients_send() -> None:
    with all_rows() as row:
        for name, data in USUAL.items():
            with row(name):
                assert compare(data, LIMITS)
                assert compare(data + b"\x81\x80", LIMITS)
                assert compare(data + data, LIMITS)


def test_what_is_left_to_the_gate() -> None:
    with all_rows() as row:
        for name, data in UNUSUAL.items():
            with row(name):
                assert by_reader(data, LIMITS) is None
                assert by_reference(data, LIMITS) is not None


def test_what_is_refused() -> None:
    with all_rows() as row:
        for name, data in NO_UPGRADE.items():
            with row(name):
                assert by_reader(data, LIMITS) is None
                assert by_reference(data, LIMITS) is None


def test_octets() -> None:
    """Every octet in a name, a value, a target, a Host and a key."""
    for number in range(256):
        octet = bytes([number])
        for place in (b"A%b: b", b"A: b%bc", b"%bA: b", b"Origin: %b", b"Sec-WebSocket-Protocol: %b"):
            compare(head(place % octet), LIMITS)
        compare(head(target=b"/" + octet), LIMITS)
        compare(head(target=b"/?" + octet), LIMITS)
        compare(instead(b"Host", b"Host: a" + octet), LIMITS)
        compare(instead(b"Host", b"Host: [" + octet + b"]"), LIMITS)
        compare(instead(b"Host", b"Host: a:" + octet), LIMITS)
        compare(instead(b"Sec-WebSocket-Key", KEY.replace(b"d", octet)), LIMITS)
        compare(head().replace(b"Connection", b"Connectio" + octet), LIMITS)
        compare(head().replace(b"websocket", b"websocke" + octet), LIMITS)


def test_a_fault_from_the_tables_in_a_request_to_upgrade() -> None:
    """What breaks a request breaks one to upgrade; where the table's is none, it is made into one."""
    fields = b"\r\n".join(FIELDS[1:]) + b"\r\n"
    with all_rows() as row:
        for name, (data, _) in REFUSED.items():
            with row(name):
                assert by_reader(data, LIMITS) is None
                for line in (b"Host: x\r\n", b"\r\n"):
                    compare(data.replace(line, line + fields, 1), LIMITS)


def test_other_requests() -> None:
    with all_rows() as row:
        for name, (data, _) in ACCEPTED.items():
            with row(name):
                assert by_reader(data, LIMITS) is None


def test_cut_anywhere() -> None:
    with all_rows() as row:
        for name, data in USUAL.items():
            with row(name):
                assert not any(by_reader(data[:size], LIMITS) for size in range(len(data)))


@pytest.mark.parametrize("limits", [LIMITS, SMALL])
def test_limits(limits: Limits) -> None:
    """To the byte, the octet and the field."""
    taken = 0
    for extra in range(-3, 4):
        for data in (
            head(b"A: " + b"b" * (limits.max_line_size - 3 + extra)),
            head(target=b"/" + b"a" * (limits.max_line_size - 14 + extra)),
            head(*[b"a: b"] * (limits.max_headers - 5 + extra)),
            head(*[b"A: " + b"b" * 40] * ((limits.max_head_size - len(head())) // 45), b"A:" + b"b" * extra),
        ):
            assert (by_reader(data, limits) is None) == (by_reference(data, limits) is None)
            taken += compare(data, limits)
    assert 0 < taken < 28


KNOWN = {
    line
    for data in (*USUAL.values(), *UNUSUAL.values(), *NO_UPGRADE.values())
    for line in data.split(b"\r\n")[1:-2]
    if len(line) < 100
}
names, texts = st.binary(min_size=1, max_size=3), st.binary(max_size=6)
lines = st.one_of(st.sampled_from(sorted(KNOWN)), st.builds(b"%b:%b".__mod__, st.tuples(names, texts)))
targets = st.one_of(st.sampled_from([b"/", b"/wsecho", b"/a?b=c", b"/%41", b"*"]), st.binary(max_size=5))
octets = st.sampled_from(b"\r\n \t:,=%#?\0\x7f\xffAa1")
changes = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 3), octets), max_size=2)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A good head with more lines, in any order, and a few octets that are not as they were."""
    fields = draw(st.permutations([*FIELDS, *draw(st.lists(lines, max_size=4))]))
    data = bytearray(head(target=draw(targets) if draw(st.booleans()) else b"/", fields=list(fields)))
    for place, removed, put in draw(changes):
        at = place % len(data)
        data[at : at + removed] = bytes([put])
    return bytes(data)


@settings(
    max_examples=int(os.environ.get("FASTWS_DIFFERENTIAL_EXAMPLES", "1000")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not IS_NIGHTLY,
)
@given(requests(), st.sampled_from([LIMITS, SMALL]), st.integers(0, 700))
@example(b"GET / HTTP/1.1\r\n" + UPGRADE_FIELDS + b"\r\n", LIMITS, 700)
def test_mutations(data: bytes, limits: Limits, cut: int) -> None:
    compare(data, limits)
    compare(data[:cut], limits)
    compare(data + data[:cut], limits)


def test_arguments() -> None:
    data = head()
    assert _heads.read_upgrade(data, len(data), -1, 100, 100) is None
    assert _heads.read_upgrade(bytearray(data), len(data), 400, 100, 100) is not None
    for size in (-1, len(data) + 1):
        with pytest.raises(ValueError, match=re.escape("the size is not that of a part of the data")):
            _heads.read_upgrade(data, size, 400, 100, 100)
    with pytest.raises(TypeError):
        _heads.read_upgrade("text", 1, 400, 100, 100)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _heads.read_upgrade(data)  # type: ignore[call-arg]


@pytest.mark.measures
def test_nothing_is_kept() -> None:
    def work() -> None:
        for data in (USUAL["Chromium"], USUAL["least"], *UNUSUAL.values()):
            _heads.read_upgrade(data, len(data), 16384, 8192, 100)

    assert blocks_kept(work, 100) < 10


def test_without_the_c_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fast_upgrade._reader("c") is fast_upgrade._reader(None) is _heads.read_upgrade
    assert fast_upgrade._reader("wsproto") is None
    monkeypatch.delattr(fastws.protocol.http, "_heads")
    monkeypatch.setitem(sys.modules, "fastws.protocol.http._heads", None)
    assert fast_upgrade._reader("c") is None
    monkeypatch.setattr(fast_upgrade, "_read", None)
    assert fast_upgrade.read_upgrade(head(), len(head()), LIMITS) is None


@pytest.mark.parametrize(
    ("origin", "status"), [(b"http://x", None), (b"https://other", None), (b"http://y", 403), (b"", 403)]
)
def test_its_origin_is_still_asked_for(origin: bytes, status: int | None) -> None:
    data = head(b"Origin: " + origin)
    request = fast_upgrade.read_upgrade(data, len(data), LIMITS)
    assert request is not None
    refusal = handshake.check_upgrade(request, origins=frozenset({"https://other"}))
    assert (None if refusal is None else refusal.status) == status
