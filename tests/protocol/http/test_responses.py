"""The HTTP phase of a server connection: what is answered, and when the connection ends with it."""

from __future__ import annotations

import pytest

from fastws.protocol.http.events import Data, EndOfBody, Refusal
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.http.server import ServerHTTP
from tests.protocol.http.cases import LIMITS, chunked, get, post

# -- responses ----------------------------------------------------------------------------------


def answered(data: bytes, response: Response, **options: bool) -> tuple[bytes, bool]:
    http = ServerHTTP(LIMITS, [(b"X-Server", b"fastws"), (b"Server", b"f")])
    http.receive(data)
    while http.next_event() is not None:
        pass
    return http.respond(response, **options), http.must_close


def test_response_fields() -> None:
    wrong = [("server", "mine"), ("Content-Length", "99"), ("Transfer-Encoding", "chunked"), ("ETag", '"é"')]
    assert answered(get(), Response(201, b"abc", wrong, "text/html")) == (
        b'HTTP/1.1 201 Created\r\nserver: mine\r\nETag: "\xe9"\r\nContent-Type: text/html\r\n'
        b"X-Server: fastws\r\nContent-Length: 3\r\n\r\nabc",
        False,
    )


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (get(), {"close": True}),
        (get(version=b"HTTP/1.0"), {}),
        (get(b"Connection: keep-alive", version=b"HTTP/1.0"), {}),
        (get(b"Connection: x, Close"), {}),
        (post(b"Content-Length: 5", body=b"hell"), {}),
        (chunked(b"1\r\nx\r\n"), {}),
    ],
)
def test_response_that_closes(data: bytes, options: dict[str, bool]) -> None:
    out, must_close = answered(data, Response(200, b"x"), **options)
    assert b"\r\nconnection: close\r\n" in out.lower()
    assert must_close


@pytest.mark.parametrize(
    ("data", "status", "length"),
    [
        (get().replace(b"GET", b"HEAD"), 200, b"Content-Length: 3\r\n"),
        (get(), 204, b""),
        (get(), 304, b""),
        (get().replace(b"GET", b"HEAD"), 304, b""),
    ],
)
def test_response_without_a_body(data: bytes, status: int, length: bytes) -> None:
    out, must_close = answered(data, Response(status, b"abc"))
    head, _, body = out.partition(b"\r\n\r\n")
    assert body == b""
    assert head.endswith(b"\r\n" + length.rstrip() if length else b"Server: f")
    assert not must_close


@pytest.mark.parametrize("bad", [b"GET\r\n\r\n", get(b"Host: y")])
def test_refusal_behind_head_has_a_body(bad: bytes) -> None:
    http = ServerHTTP(LIMITS)
    http.receive(get().replace(b"GET", b"HEAD") + bad)
    while (event := http.next_event()) != EndOfBody():
        assert isinstance(event, Request)
    assert http.respond(Response(200, b"abc")).endswith(b"\r\nContent-Length: 3\r\n\r\n")
    refusal = http.next_event()
    assert isinstance(refusal, Refusal)
    assert http.respond(refusal.response, close=True).endswith(b"\r\n\r\n400 Bad Request\n")


@pytest.mark.parametrize(
    "data",
    [
        b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
    ],
)
def test_refusal_of_head_has_none(data: bytes) -> None:
    http = ServerHTTP(LIMITS)
    http.receive(data)
    while not isinstance(event := http.next_event(), Refusal):
        assert isinstance(event, Request)
    assert http.respond(event.response, close=True).endswith(b"\r\nConnection: close\r\n\r\n")
    assert http.must_close


def test_response_of_unknown_status_has_no_phrase() -> None:
    assert answered(get(), Response(599))[0].startswith(b"HTTP/1.1 599 \r\n")


def test_interim_response_is_no_response() -> None:
    with pytest.raises(ValueError, match="101 is not a final response"):
        answered(get(), Response(101))


class Stream:
    length = 6

    def read(self, n: int) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def streaming(data: bytes) -> ServerHTTP:
    http = ServerHTTP(LIMITS)
    http.receive(data)
    while http.next_event() is not None:
        pass
    out = http.start_response(Response(stream=Stream()))
    assert out == b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    return http


def test_stream() -> None:
    http = streaming(get() + get(target=b"/2"))
    assert http.send_body(b"abc") == b"abc"
    assert http.send_body(b"") == b""
    assert http.next_event() is None
    assert http.send_body(b"def") == b"def"
    assert http.end_response() == b""
    assert not http.must_close
    request = http.next_event()
    assert isinstance(request, Request)
    assert request.target == "/2"


def test_stream_that_grows_is_cut() -> None:
    http = streaming(get())
    assert http.send_body(b"abcdefgh") == b"abcdef"
    assert http.send_body(b"ijk") == b""
    http.end_response()
    assert not http.must_close


def test_stream_that_ends_early_ends_the_connection() -> None:
    http = streaming(get() + get())
    assert http.send_body(b"abc") == b"abc"
    http.end_response()
    assert http.must_close
    assert http.next_event() is None


def test_stream_for_head() -> None:
    http = streaming(get().replace(b"GET", b"HEAD"))
    assert http.send_body(b"abcdef") == b""
    http.end_response()
    assert not http.must_close


# -- 100 Continue and the end of the stream ------------------------------------------------------

EXPECT = b"Expect: 100-Continue"


def test_continue_is_sent_once_for_a_body_that_waits() -> None:
    http = ServerHTTP(LIMITS)
    http.receive(post(EXPECT, b"Content-Length: 4"))
    assert isinstance(http.next_event(), Request)
    assert http.next_event() is None
    assert http.take_output() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert http.next_event() is None
    assert http.take_output() == b""
    http.receive(b"body")
    assert http.next_event() == Data(b"body")
    assert http.next_event() == EndOfBody()
    assert http.respond(Response(200)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not http.must_close


@pytest.mark.parametrize(
    "data",
    [
        post(EXPECT, b"Content-Length: 4", body=b"b"),
        post(EXPECT, b"Content-Length: 0"),
        get(EXPECT),
        post(EXPECT, b"Content-Length: 4").replace(b"1.1", b"1.0"),
        post(EXPECT, b"Content-Length: 9999999"),
    ],
)
def test_no_continue(data: bytes) -> None:
    http = ServerHTTP(LIMITS)
    http.receive(data)
    while http.next_event() is not None:
        pass
    assert http.take_output() == b""


def test_final_response_in_place_of_continue() -> None:
    http = ServerHTTP(LIMITS)
    http.receive(post(EXPECT, b"Content-Length: 4"))
    while http.next_event() is not None:
        pass
    assert b"Connection: close" in http.respond(Response(404))
    assert http.take_output() == b""
    assert http.must_close


@pytest.mark.parametrize(
    "data",
    [b"GET / HT", b"\r", post(b"Content-Length: 5", body=b"hell"), chunked(b"5\r\nhell"), chunked(b"0\r\n")],
)
def test_end_within_a_request(data: bytes) -> None:
    http = ServerHTTP(LIMITS)
    http.receive(data)
    http.receive_eof()
    while not isinstance(event := http.next_event(), Refusal):
        assert event is not None
    assert event.response.status == 400


def test_end_between_requests() -> None:
    http = ServerHTTP(LIMITS)
    http.receive_eof()
    assert http.next_event() is None


def test_requests_before_the_end_are_answered() -> None:
    http = ServerHTTP(LIMITS)
    http.receive(get() + get())
    http.receive_eof()
    for closes in (False, True):
        assert isinstance(http.next_event(), Request)
        assert http.next_event() == EndOfBody()
        assert (b"Connection: close" in http.respond(Response(200))) is closes
        assert http.must_close is closes


# -- in pieces of the application's own ---------------------------------------------------------


def started(data: bytes, status: int, *fields: tuple[bytes, bytes]) -> tuple[ServerHTTP, bytes]:
    http = ServerHTTP(LIMITS, [(b"X-Server", b"fastws")])
    http.receive(data)
    while http.next_event() is not None:
        pass
    return http, http.start_pieces(status, b"Fine", list(fields))


def test_pieces_of_unknown_length_are_chunks() -> None:
    http, head = started(get(), 200, (b"Transfer-Encoding", b"gzip"), (b"X-Server", b"mine"))
    assert head == b"HTTP/1.1 200 Fine\r\nX-Server: mine\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert http.length_left == -1
    assert http.send_body(b"abc") == b"3\r\nabc\r\n"
    assert http.send_body(b"") == b""
    assert http.end_response() == b"0\r\n\r\n"


def test_pieces_of_a_length_end_there() -> None:
    http, head = started(get(), 200, (b"Content-Length", b"4"))
    assert head == b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\nX-Server: fastws\r\n\r\n"
    assert http.send_body(b"abc") == b"abc"
    assert http.length_left == 1
    assert http.send_body(b"def") == b"d"
    assert http.end_response() == b""


@pytest.mark.parametrize(("data", "status"), [(get(), 204), (get().replace(b"GET", b"HEAD"), 200)])
def test_pieces_without_a_body(data: bytes, status: int) -> None:
    http, head = started(data, status, (b"Content-Length", b"4"))
    assert (b"Content-Length" in head) == (status == 200)
    assert http.length_left == 0
    assert http.send_body(b"abc") == b""


def test_pieces_for_who_has_not_sent_all() -> None:
    _, head = started(post(b"Content-Length: 5", body=b"hell"), 200)
    assert b"Connection: close\r\n" in head


def test_an_interim_response_is_none() -> None:
    with pytest.raises(ValueError, match="103 is not a final response"):
        started(get(), 103)


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        (post(b"Content-Length: 5", body=b""), [False, True]),
        (chunked(b"5\r\nhello\r\n"), [True, True]),
    ],
)
def test_a_body_is_limited_by_its_route(data: bytes, allowed: list[bool]) -> None:
    for limit, expected in zip((4, 5), allowed, strict=True):
        http = ServerHTTP(LIMITS)
        http.receive(data)
        assert isinstance(http.next_event(), Request)
        assert http.limit_body(limit) is expected


def test_chunks_end_at_the_route_s_limit() -> None:
    http = ServerHTTP(LIMITS)
    http.receive(chunked(b"5\r\nhello\r\n"))
    http.next_event()
    http.limit_body(4)
    event = http.next_event()
    assert isinstance(event, Refusal)
    assert event.response.status == 413
