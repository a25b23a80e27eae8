"""The HTTP phase of a client connection: one response, whole, byte by byte, and with frames behind."""

from __future__ import annotations

import pytest

from fastws.config import Limits
from fastws.errors import HandshakeError
from fastws.protocol.http.client import ClientHTTP
from fastws.protocol.http.messages import Response
from tests.effort import within_cpu

LIMITS = Limits()
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
FRAMES = b"\x81\x02hi"


def run(data: bytes, feed: str, *, eof: bool = False) -> tuple[Response | None, ClientHTTP]:
    http = ClientHTTP(LIMITS)
    response = None
    pieces = [data[i : i + 1] for i in range(len(data))] if feed == "bytewise" else [data]
    for piece in pieces:
        http.receive(piece)
        if response is None:
            response = http.next_event()
    if eof:
        http.receive_eof()
        response = http.next_event()
    return response, http


@pytest.mark.parametrize("feed", ["whole", "bytewise"])
@pytest.mark.parametrize(
    "head",
    [
        SWITCHING + b"\r\n",
        SWITCHING + b"X-Odd:\t \xe9 \r\n\r\n",
        b"HTTP/1.1 101\r\n\r\n",
        b"HTTP/1.1 101 \r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + SWITCHING + b"\r\n",
    ],
)
def test_switching(head: bytes, feed: str) -> None:
    response, http = run(head + FRAMES, feed)
    assert response is not None
    assert response.status == 101
    assert http.trailing() == FRAMES
    assert http.trailing() == b""


def test_response_headers() -> None:
    response, _ = run(SWITCHING + b"X-Odd:\t \xe9 \r\n\r\n", "whole")
    assert response is not None
    assert response.headers.items() == [("upgrade", "websocket"), ("connection", "Upgrade"), ("x-odd", "é")]


@pytest.mark.parametrize("feed", ["whole", "bytewise"])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 404 \r\nContent-Length: 5\r\n\r\nhello!!!", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.0 500 Oh\r\nContent-Length: 0\r\n\r\n", b""),
        # A broken body is no reason to forget what is known.
        (b"HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n", b"abc"),
    ],
)
def test_refusal(data: bytes, body: bytes, feed: str) -> None:
    response, _ = run(data, feed)
    assert response is not None
    assert response.body == body


@pytest.mark.parametrize("feed", ["whole", "bytewise"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 403 \r\n\r\n",
        b"HTTP/1.0 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 403 \r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_refusal_until_the_end(head: bytes, feed: str) -> None:
    assert run(head + b"hello", feed)[0] is None
    response, _ = run(head + b"hello", feed, eof=True)
    assert response is not None
    assert (response.status, response.body) == (403, b"hello")


def test_only_a_part_of_a_large_body_is_kept() -> None:
    for fields in (b"", b"Content-Length: 1000000\r\n"):
        http = ClientHTTP(LIMITS)
        http.receive(b"HTTP/1.1 404 \r\n" + fields + b"\r\n" + b"x" * 60_000)
        assert http.next_event() is None
        http.receive(b"x" * 60_000)
        response = http.next_event()
        assert response is not None
        assert response.body == b"x" * 65536


@pytest.mark.parametrize("feed", ["whole", "bytewise"])
@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>\n",
        b"HTTP/1.1 101 Switching\nUpgrade: websocket\n\n",
        b"HTTP/2 101 \r\n\r\n",
        b"HTTP/1.1 1010 \r\n\r\n",
        b"HTTP/1.1 099 \r\n\r\n",
        b"HTTP/1.1 10 \r\n\r\n",
        b"http/1.1 101 \r\n\r\n",
        b"HTTP/1.1  101 \r\n\r\n",
        b"HTTP/1.1 101\x00\r\n\r\n",
        b"\r\n" + SWITCHING + b"\r\n",
        SWITCHING + b"A : b\r\n\r\n",
        SWITCHING + b"A: b\r\n c\r\n\r\n",
        SWITCHING + b"A: \x01\r\n\r\n",
        SWITCHING + b"A: b\r\n" * 100 + b"\r\n",
        SWITCHING + b"A: " + b"b" * 8192 + b"\r\n\r\n",
        SWITCHING + b"A: bbbb\r\n" * 2000 + b"\r\n",
        b"HTTP/1.1 404 \r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 404 \r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 100 \r\n\r\n" * 1000,
    ],
)
def test_garbage(data: bytes, feed: str) -> None:
    with pytest.raises(HandshakeError, match="not valid HTTP/1.1"):
        run(data, feed)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", SWITCHING, b"HTTP/1.1 100 \r\n\r\n"])
def test_end_within_the_head(data: bytes) -> None:
    with pytest.raises(HandshakeError, match="ended before"):
        run(data, "whole", eof=True)


@pytest.mark.measures
def test_time_is_linear() -> None:
    within_cpu(5, lambda: run(b"HTTP/1.1 404 \r\n\r\n" + b"x" * 70_000, "bytewise"))
