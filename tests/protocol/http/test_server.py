"""The HTTP phase of a server connection: literal bytes in, events and literal bytes out.

Each case is fed whole, byte by byte, and with the head of another request behind it. The classes
are those of this year's advisories: a new one is a new row.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.config import Limits
from fastws.protocol.http.events import Data, EndOfBody, Refusal
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.http.server import ServerHTTP
from tests.effort import within_cpu
from tests.protocol.http.cases import ACCEPTED, LIMITS, REFUSED, UPGRADE_FIELDS, chunked, get, post
from tests.rows import all_rows

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
FEEDS = ["whole", "bytewise", "trailing"]


def run(data: bytes, feed: str = "whole", limits: Limits = LIMITS) -> tuple[list[object], ServerHTTP]:
    """Feed the bytes, answer every whole request with 204; pieces of a body are joined."""
    http = ServerHTTP(limits)
    events: list[object] = []
    pieces = [data[i : i + 1] for i in range(len(data))] if feed == "bytewise" else [data]
    if feed == "trailing":
        pieces = [data + SMUGGLED]
    for piece in pieces:
        http.receive(piece)
        while (event := http.next_event()) is not None:
            if isinstance(event, Data) and isinstance(events[-1], Data):
                events[-1] = Data(events[-1].data + event.data)
            else:
                events.append(event)
            if isinstance(event, EndOfBody):
                http.respond(Response(204))
            elif isinstance(event, Refusal):
                http.respond(event.response, close=True)
    return events, http


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    data, expected = ACCEPTED[name]
    with all_rows() as row:
        for feed in FEEDS:
            with row(feed):
                events, http = run(data, feed)
                requests: list[tuple[str, str, bytes]] = []
                for event in events:
                    if isinstance(event, Request):
                        requests.append((event.method, event.target, b""))
                    elif isinstance(event, Data):
                        requests[-1] = (*requests[-1][:2], event.data)
                    else:
                        assert event == EndOfBody()
                trailing = [("GET", "/smuggled", b"")] if feed == "trailing" else []
                assert requests == [*expected, *trailing]
                assert http.buffered == 0
                assert not http.must_close


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, status = REFUSED[name]
    with all_rows() as row:
        for feed in FEEDS:
            with row(feed):
                events, http = run(data, feed)
                assert isinstance(events[-1], Refusal), events
                assert events[-1].response.status == status
                assert not any(isinstance(event, Request) and event.target == "/smuggled" for event in events)
                # Nothing that comes afterwards is ever parsed, or even kept.
                assert http.must_close
                http.receive(SMUGGLED)
                assert http.next_event() is None
                assert http.buffered == 0


def test_refusal_is_constant_text_and_closes() -> None:
    http = ServerHTTP(LIMITS, [(b"X-Server", b"fastws")])
    http.receive(b"GET /<script> HTTP/1.1\r\nHost: <script>\r\n\r\n")
    refusal = http.next_event()
    assert isinstance(refusal, Refusal)
    assert http.respond(refusal.response, close=True) == (
        b"HTTP/1.1 400 Bad Request\r\nX-Content-Type-Options: nosniff\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nX-Server: fastws\r\nContent-Length: 16\r\n"
        b"Connection: close\r\n\r\n400 Bad Request\n"
    )


def test_what_only_h11_refuses_is_refused_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate is stricter than h11 everywhere, so this takes a gate that looks away."""
    monkeypatch.setattr("fastws.protocol.http.server.check_host", lambda lowered, version: None)
    events, _ = run(get(b"Host: y"))
    assert [event.response.status for event in events if isinstance(event, Refusal)] == [400]
    events, _ = run(b"GET / HTTP/1.1\r\n" + UPGRADE_FIELDS + b"Host: y\r\n\r\n")
    assert [event.response.status for event in events if isinstance(event, Refusal)] == [400]


# -- limits and time ----------------------------------------------------------------------------


def test_limits_are_inclusive() -> None:
    target = b"/" + b"a" * (8192 - len("GET  HTTP/1.1") - 1)
    for data in (get(*[b"a: b"] * 99), get(target=target), get(b"A: " + b"b" * 8189)):
        events, _ = run(data)
        assert isinstance(events[0], Request)
    room = LIMITS.max_head_size - len(get(b"A: ", b"B: " + b"b" * 8180))
    largest = get(b"A: " + b"a" * room, b"B: " + b"b" * 8180)
    assert len(largest) == LIMITS.max_head_size
    for feed in FEEDS:
        assert isinstance(run(largest, feed)[0][0], Request)
        events, _ = run(largest.replace(b"/", b"/a", 1), feed)
        assert isinstance(events[0], Refusal)
        assert events[0].response.status == 431
    body = b"x" * LIMITS.max_body_size
    assert run(post(b"Content-Length: %d" % len(body), body=body))[0][1] == Data(body)
    assert run(chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)))[0][1] == Data(body)
    # However the body is cut into chunks, their sum counts.
    tight = Limits(max_body_size=4)
    events, _ = run(chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), limits=tight)
    assert isinstance(events[-1], Refusal)
    assert events[-1].response.status == 413


@pytest.mark.parametrize("feed", FEEDS)
def test_chunks_of_every_small_size_give_the_body(feed: str) -> None:
    """The sizes that are looked up and those that are matched, digits in both cases, CR and LF within."""
    sizes = [*range(1, 20), *range(19, 0, -1)]
    pieces = [b"\r\n1\r\n0\r\n\r\n234567890"[:size] for size in sizes]
    chunks = [
        (b"%x\r\n%b\r\n" if each % 2 else b"%X\r\n%b\r\n") % (len(piece), piece)
        for each, piece in enumerate(pieces)
    ]
    events, _ = run(chunked(b"".join(chunks) + b"0\r\n\r\n"), feed)
    assert b"".join(event.data for event in events if isinstance(event, Data)) == b"".join(pieces)
    assert isinstance(events[-1], EndOfBody)
    for wrong in (b"x\n\r", b"\r\n\r", b"xy\r\n"):
        events, _ = run(chunked(b"1\r\nx\r\n1\r\n" + wrong), feed)
        assert isinstance(events[-1], Refusal)


@pytest.mark.measures
def test_time_is_linear() -> None:
    """H3 and H6, with room for a slow machine; the quadratic answer takes many times as long."""
    within_cpu(0.5, lambda: run(get(*[b"A: " + b"b" * 4000] * 5), "bytewise"))
    within_cpu(1, lambda: run(chunked(b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"), "whole"))
    within_cpu(0.1, lambda: run(chunked(b"1;" + b"e" * 250 + b"\r\nx\r\n"), "bytewise"))
    within_cpu(0.6, lambda: run(chunked(b"0\r\n" + b"A: " + b"b" * 8000), "bytewise"))
    within_cpu(2, lambda: run(b"\r\n".join([get()] * 2000), "whole"))


# -- requests -----------------------------------------------------------------------------------


def test_request_fields() -> None:
    data = get(b"A:  b\t", b"a: c", b"Cookie: k=v", target=b"/caf%C3%A9//x;y?q=%31", version=b"HTTP/1.0")
    (request, *_), _ = run(data)
    assert isinstance(request, Request)
    assert (request.method, request.path, request.raw_path) == ("GET", "/café//x;y", b"/caf%C3%A9//x;y")
    assert (request.query, request.query_params) == ("q=%31", {"q": ["1"]})
    assert (request.http_version, request.scheme, request.upgrade) == ("1.0", "http", False)
    assert request.headers.items() == [("host", "x"), ("a", "b"), ("a", "c"), ("cookie", "k=v")]
    assert request.raw_head == data


@pytest.mark.parametrize("feed", ["whole", "bytewise"])
@pytest.mark.parametrize(
    "value", [b"websocket", b"WebSocket", b"h2c , websocket", b"websocket\r\nUpgrade: x"]
)
def test_upgrade_hands_over_what_follows(value: bytes, feed: str) -> None:
    head = (
        b"GET /chat HTTP/1.1\r\n" + UPGRADE_FIELDS.replace(b"websocket", value) + b"Content-Length: 0\r\n\r\n"
    )
    frames = b"\x81\x85" + SMUGGLED
    events, http = run(head + frames, feed)
    (request,) = events
    assert isinstance(request, Request)
    assert request.upgrade
    assert request.scheme == "ws"
    assert http.trailing() == frames
    assert http.trailing() == b""


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_refused_upgrade_closes(method: bytes, version: bytes) -> None:
    http = ServerHTTP(LIMITS)
    http.receive(method + b" / " + version + b"\r\n" + UPGRADE_FIELDS + b"X: \xe9 \r\n\r\n" + SMUGGLED)
    request = http.next_event()
    assert isinstance(request, Request)
    assert request.upgrade
    assert http.next_event() is None
    assert http.respond(Response(403, b"no")) == (
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        + (b"" if method == b"HEAD" else b"no")
    )
    assert http.must_close
    assert http.next_event() is None


# -- what nobody thought of ----------------------------------------------------------------------


def gist(events: list[object]) -> list[object]:
    """Events to compare: the status may depend on which of two faults is seen first, and a refused
    body may have come in part before its fault.
    """
    texts: list[object] = []
    for event in events:
        if isinstance(event, Request):
            texts.append((event.method, event.target, event.headers.items()))
        elif isinstance(event, Refusal):
            if texts and isinstance(texts[-1], Data):
                del texts[-1]
            texts.append("refused")
        else:
            texts.append(event)
    return texts


OCTETS = b"\0\t\n\r\x0b !%+,-./0159:;AZ[\\]az{|}\x7f\x80\xe9\xff"


@given(data=st.data())
def test_any_octets_in_any_pieces(data: st.DataObject) -> None:
    rows = [*ACCEPTED.values(), *REFUSED.values()]
    stream = bytearray(data.draw(st.sampled_from([row[0] for row in rows if len(row[0]) < 400])) + SMUGGLED)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 2))] = bytes([data.draw(st.sampled_from(OCTETS))])
    whole, _ = run(bytes(stream))
    bytewise, http = run(bytes(stream), "bytewise")
    assert gist(bytewise) == gist(whole)
    assert http.buffered <= len(stream)


# -- the authority of a target (RFC 9112, section 3.2.2) ---------------------------------------------


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/a", "x"),
        ("http://x/a", "x"),
        ("http://Y:80/a", "y:80"),
        ("ws://[::1]:8/a", "[::1]:8"),
        ("wss://y?q", "y"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("upgrade", [False, True])
def test_the_authority_of_the_target_replaces_host(
    target: str, host: str, version: str, upgrade: bool
) -> None:
    fields = UPGRADE_FIELDS.removeprefix(b"Host: x\r\n") if upgrade else b""
    head = f"GET {target} HTTP/{version}\r\nA: b\r\nHOST: \tx \r\n".encode() + fields + b"C: d\r\n\r\n"
    http = ServerHTTP(LIMITS)
    http.receive(head + b"early")
    request = http.next_event()
    assert isinstance(request, Request)
    assert request.headers.get_list("host") == [host]
    assert (request.headers["a"], request.headers["c"]) == ("b", "d")
    assert request.target == target
    assert request.offer.host == host


def test_http_1_0_may_have_no_host_but_a_target_with_one() -> None:
    http = ServerHTTP(LIMITS)
    http.receive(b"GET http://y/ HTTP/1.0\r\nA: b\r\n\r\n")
    request = http.next_event()
    assert isinstance(request, Request)
    assert request.headers.items() == [("a", "b"), ("host", "y")]
