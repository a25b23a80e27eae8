"""Requests and responses as values: targets, paths, bodies, and what a request weighs."""

from __future__ import annotations

import gc
import sys
from typing import Any

import orjson
import pytest

from fastws.protocol.http import shared_texts
from fastws.protocol.http.messages import (
    Headers,
    Request,
    Response,
    error_response,
)
from fastws.protocol.http.shared_texts import MAX_SHARED_LENGTH, MAX_SHARED_TEXTS
from fastws.protocol.http.targets import decode_path, split_target

HEAD = b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c, WebSocket\r\n\r\n"


# -- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?b", "/a", "b"),
        ("/a?b?c", "/a", "b?c"),
        ("//a//b", "//a//b", ""),
        ("/?", "/", ""),
        ("*", "*", ""),
        ("http://x", "/", ""),
        ("HTTP://x:1?q", "/", "q"),
        ("wss://x/a/b?q=http://y/", "/a/b", "q=http://y/"),
        ("/http://x/", "/http://x/", ""),
    ],
)
def test_split_target(target: str, path: str, query: str) -> None:
    assert split_target(target) == (path, query)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b", "/a/b"),
        ("/a%2Fb%2fc", "/a/b/c"),
        ("/%e2%82%ac%20+", "/€ +"),
        ("/%25zz", "/%zz"),
        ("/%1b%0d%0a", "/\x1b\r\n"),
        ("/a?%zz%00", "/a"),
        ("http://x/%41", "/A"),
    ],
)
def test_decode_path(target: str, path: str) -> None:
    assert decode_path(target) == path


@pytest.mark.parametrize("target", ["/%", "/%4", "/%zz", "/%00", "/a%00b", "/%ff", "/%c0%af", "/%ed%a0%80"])
def test_path_that_cannot_be_decoded(target: str) -> None:
    with pytest.raises(ValueError, match="path|utf-8"):
        decode_path(target)


# -- requests -----------------------------------------------------------------------------------


def test_request_from_literals() -> None:
    target = "/caf%C3%A9?a=1&a=2&b=&c"
    request = Request("POST", target, [("Cookie", "k=v")], body=b'{"x": [1]}', scheme="https")
    assert (request.method, request.path, request.raw_path) == ("POST", "/café", b"/caf%C3%A9")
    assert request.query == "a=1&a=2&b=&c"
    assert request.query_params == {"a": ["1", "2"], "b": [""], "c": [""]}
    assert request.json() == {"x": [1]}
    assert (request.http_version, request.tls, request.upgrade, request.peer) == ("1.1", True, False, None)
    assert request.headers.items() == [("cookie", "k=v")]
    assert repr(request) == "<Request POST '/caf%C3%A9?a=1&a=2&b=&c'>"
    request.compact()
    assert request.headers.get("cookie") == "k=v"


def test_request_defaults() -> None:
    request = Request()
    assert (request.method, request.target, request.body, request.scheme) == ("GET", "/", b"", "http")
    assert not request.tls
    assert Request(scheme="wss").tls
    assert Request(headers=Headers([("Upgrade", "WebSocket")])).upgrade
    assert not Request(headers=[("Upgrade", "websocket")], upgrade=False).upgrade
    assert Request(target="/%41", path="/given").path == "/given"


def test_headers_come_from_the_raw_head_when_asked_for() -> None:
    request = Request(target="/a?b=1", raw_head=HEAD)
    assert request.upgrade
    assert request.headers is request.headers
    before = request.headers
    request.compact()
    assert request.headers == before
    assert request.headers is not before


def test_request_is_small() -> None:
    """It lives as long as its connection; the budget of all of one is 1.8 KB."""
    request = Request("GET", "/echo", path="/echo", upgrade=True, raw_head=HEAD)
    assert sys.getsizeof(request) <= 200
    request.compact()
    assert not any(isinstance(part, (dict, list, Headers)) for part in gc.get_referents(request))
    assert not hasattr(request, "__dict__")


def test_requests_share_their_texts_up_to_a_bound() -> None:
    def kept(target: str) -> Request:
        # As from the socket: each a text of its own.
        request = Request(target="".join(target), raw_head=HEAD)
        request.compact()
        return request

    first, second = kept("/echo?" + str(1)), kept("/echo?" + str(1))
    assert first.target is second.target
    for number in range(3 * MAX_SHARED_TEXTS):
        kept(f"/{number}?{'x' * 4000}")
        kept(f"/{number}")
    assert len(shared_texts.SHARED) <= MAX_SHARED_TEXTS
    assert max(map(len, shared_texts.SHARED)) <= MAX_SHARED_LENGTH


def test_nothing_of_a_request_is_interned() -> None:
    def text() -> str:
        return "/never asked before " + str(sys.maxsize)

    request = Request(target=text(), raw_head=HEAD)
    request.compact()
    twin = text()
    assert sys.intern(twin) is twin, "an equal text was interned before"


def test_repr_is_one_printable_line() -> None:
    assert repr(Request("GET", "/x?a=\x1b[31m\n")) == "<Request GET '/x?a=\\x1b[31m\\n'>"


def test_path_params() -> None:
    request = Request()
    assert request.path_params == {}
    assert request.path_params is request.path_params
    request.path_params = {"room": "1"}
    assert request.path_params == {"room": "1"}


def test_many_query_fields() -> None:
    with pytest.raises(ValueError, match="Max number of fields"):
        _ = Request(target="/?" + "a&" * 1001).query_params


@pytest.mark.parametrize(
    ("values", "cookies"),
    [
        ([], {}),
        (["a=b; c=d=e"], {"a": "b", "c": "d=e"}),
        (["a=b", "c=d"], {"a": "b", "c": "d"}),
        (['a="b"; a=c'], {"a": "b"}),
        ([";;  ; x; =y; z="], {"z": ""}),
    ],
)
def test_cookies(values: list[str], cookies: dict[str, str]) -> None:
    assert Request(headers=[("Cookie", value) for value in values]).cookies == cookies


def test_bad_json() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        Request(body=b"{").json()


# -- responses ----------------------------------------------------------------------------------


def test_response() -> None:
    response = Response()
    assert (response.status, response.body, response.raw_headers, response.stream) == (200, b"", [], None)
    assert (response.reason, repr(response)) == (b"OK", "<Response 200>")
    response = Response(404, "é", {"X-A": "b"})
    assert response.body == b"\xc3\xa9"
    assert response.text == "é"
    assert response.raw_headers == [(b"X-A", b"b"), (b"Content-Type", b"text/plain; charset=utf-8")]
    assert response.headers["x-a"] == "b"
    response = Response(599, "[1]", [(b"X-B", b"\xe9")], "application/json")
    assert response.raw_headers == [(b"X-B", b"\xe9"), (b"Content-Type", b"application/json")]
    assert (response.json(), response.reason) == ([1], b"")
    assert Response(200, b"\xff").text == "\N{REPLACEMENT CHARACTER}"


def test_a_response_keeps_the_bytes_that_it_was_given() -> None:
    changing = bytearray(b"ab")
    response, other = Response(body=changing), Response(body=memoryview(changing)[1:])
    changing[:] = b"??"
    assert (response.body, other.body) == (b"ab", b"b")


@pytest.mark.parametrize("body", [{"error": "no"}, None, 5, ["a"]])
def test_response_with_a_body_that_is_none(body: Any) -> None:
    with pytest.raises(TypeError, match="the body of a response is str or bytes, not"):
        Response(401, body)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", "\0", "a\n"])
def test_response_with_a_bad_name(name: str) -> None:
    for given in (name, name.encode("latin-1")):
        with pytest.raises(ValueError, match="cannot be a header name"):
            Response(headers=[(given, given)])  # type: ignore[list-item]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "\r", "\n", "\0", "€", "\x7f", "\x1b[31m", "a\n"])
def test_response_with_a_bad_value(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be the value of Location"):
        Response(302, headers=[("Location", value)])
    with pytest.raises(ValueError, match="cannot be the value of Content-Type"):
        Response(content_type=value)


@pytest.mark.parametrize("status", [0, 99, 1000, -200])
def test_response_with_a_bad_status(status: int) -> None:
    with pytest.raises(ValueError, match="no HTTP status"):
        Response(status)


def test_error_response() -> None:
    response = error_response(405, headers=[("Allow", "GET")])
    assert response.body == b"405 Method Not Allowed\n"
    assert response.raw_headers == [
        (b"Allow", b"GET"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Type", b"text/plain; charset=utf-8"),
    ]
    assert error_response(499).body == b"499 Error\n"


def test_an_address_that_is_asked_for_each_time() -> None:
    class Transport:
        address = ("192.0.2.1", 5)

        def get_extra_info(self, name: str) -> object:
            return {"peername": self.address}[name]

    transport, request = Transport(), Request("GET", "/")
    assert request.peer is None
    request.peer = transport
    assert request.peer == ("192.0.2.1", 5)
    transport.address = ("192.0.2.2", 6)
    assert request.peer == ("192.0.2.2", 6)
    request.peer = "/run/socket"
    assert request.peer == "/run/socket"


def test_who_may_be_forwarded() -> None:
    """Only a request whose head was checked is known to have no field of a proxy."""
    plain = Request(headers=[("Host", "a")])
    assert plain.may_be_forwarded()
    plain.vetted()
    assert not plain.may_be_forwarded()
    forwarded = Request(headers=[("X-Forwarded-For", "192.0.2.1")])
    forwarded.vetted()
    assert forwarded.may_be_forwarded()
