"""Header fields: parsing, look-ups, and what may stand in a name and in a value."""

from __future__ import annotations

import h11
import pytest

from fastws.protocol.http.headers import Headers, is_token, is_value, raw_fields
from tests.effort import within_cpu
from tests.protocol.http.cases import ACCEPTED

HEAD = b"GET / HTTP/1.1\r\nHost: x:1\r\nA:\tb \r\na: c, ,D\r\nEmpty:\r\nLatin: \xe9  \r\n\r\n"
PAIRS = [("host", "x:1"), ("a", "b"), ("a", "c, ,D"), ("empty", ""), ("latin", "é")]


def test_parse() -> None:
    headers = Headers.parse(HEAD)
    assert headers.items() == PAIRS
    assert headers == Headers(PAIRS)
    assert headers == Headers([(name.upper().encode(), value.encode("latin-1")) for name, value in PAIRS])
    assert headers.raw == [(name.encode(), value.encode("latin-1")) for name, value in PAIRS]
    assert raw_fields(HEAD)[1:3] == [(b"A", b"b"), (b"a", b"c, ,D")]
    assert raw_fields(b"X\r\nA: b\r\n\r\n") == [(b"A", b"b")]
    assert Headers.parse(b"X\r\nA: b\t\r\n\r\n").items() == [("a", "b")]


@pytest.mark.parametrize("name", ACCEPTED)
def test_reads_as_h11_does(name: str) -> None:
    """Two readers of one head must not differ in a single octet."""
    data, _ = ACCEPTED[name]
    data = data.removeprefix(b"\r\n")
    head = data[: data.index(b"\r\n\r\n") + 4]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert raw_fields(head.replace(b"Chunked", b"chunked")) == event.headers.raw_items()
    assert Headers.parse(head.replace(b"Chunked", b"chunked")).raw == list(event.headers)


def test_look_up() -> None:
    headers = Headers(PAIRS)
    assert headers["A"] == headers.get("a") == headers.get("A") == "b"
    assert headers.get("empty") == headers.get("Empty", "x") == ""
    assert headers.get("b") is None
    assert headers.get("b", "x") == "x"
    assert headers.get_list("A") == ["b", "c, ,D"]
    assert headers.get_list("b") == []
    assert Headers([("A", "1"), ("B", "2")]).get_list("a") == ["1"]
    assert "A" in headers
    assert "b" not in headers
    assert 1 not in headers
    assert list(headers) == ["host", "a", "a", "empty", "latin"]
    assert len(headers) == 5
    with pytest.raises(KeyError):
        headers["b"]


def test_tokens() -> None:
    headers = Headers(PAIRS)
    assert headers.tokens("A") == ["b", "c", "d"]
    assert headers.tokens("b") == headers.tokens("empty") == []
    assert headers.tokens("host") == ["x:1"]


def test_is_a_value() -> None:
    assert Headers(PAIRS) != PAIRS
    assert repr(Headers([("A", "b")])) == "Headers([('a', 'b')])"
    with pytest.raises(TypeError):
        hash(Headers())


@pytest.mark.parametrize("text", ["a", "A-1", "!#$%&'*+-.^_`|~"])
def test_tokens_are_tokens(text: str) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", ["", " a", "a b", "a:", "é", "a\n", "(", "a,b", "٥"])
def test_other_text_is_no_token(text: str) -> None:
    assert not is_token(text)


def test_values() -> None:
    assert is_value("")
    assert is_value(" \ta~é\xff")
    for text in ("\n", "a\n", "\r", "\0", "\x7f", "\x0b", "€", "\u2028"):
        assert not is_value(text)


@pytest.mark.measures
def test_parse_is_linear() -> None:
    head = b"X\r\n" + b"a:" + b" " * 8000 + b"x" + b" " * 8000 + b"\r\n\r\n"
    assert within_cpu(0.005, lambda: Headers.parse(head)["a"]) == "x"
