"""Lines of the access log: nobody can forge one, and no secret stands in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.logs import conceal, escape, http_line, peer_text, websocket_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/plain?a=b%20c", "/plain?a=b%20c"),
        ("", ""),
        ("line\r\nFAKE", r"line\r\nFAKE"),
        ("\x1b[31m", r"\x1b[31m"),
        ('a"b', r"a\"b"),
        ("a\\n", r"a\\n"),
        ("ü\u2028", r"\xfc\u2028"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert '"' not in escaped.replace('\\"', "")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("192.0.2.1", 80), "192.0.2.1:80"),
        (("192.0.2.1", 0), "192.0.2.1"),
        (("2001:db8::1", 0, 0, 0), "[2001:db8::1]"),
        (("2001:db8::1", 80, 0, 0), "[2001:db8::1]:80"),
        (["192.0.2.1", 80], "192.0.2.1:80"),
        (("evil\n", 1), r"evil\n:1"),
        ("/run/x.sock", "/run/x.sock"),
        ("", "unix"),
        (None, "-"),
        ((), "unix"),
    ],
)
def test_peers(peer: Any, expected: str) -> None:
    assert peer_text(peer) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a", "/a"),
        ("/token=x", "/token=x"),
        ("/?token=secret", "/?token=***"),
        ("/?a=b&access_token=secret&c=d", "/?a=b&access_token=***&c=d"),
        ("/?%74oken=secret", "/?%74oken=***"),
        ("/?token=", "/?token=***"),
        ("/?token", "/?token"),
        ("/?tokens=1", "/?tokens=1"),
    ],
)
def test_conceal(target: str, expected: str) -> None:
    assert conceal(target) == expected


def test_a_response() -> None:
    line = http_line(("192.0.2.1", 80), "GET", '/"?token=x', "1.1", 200, 12, 0.00123)
    assert line == r'192.0.2.1:80 "GET /\"?token=*** HTTP/1.1" 200 12 bytes 1.2 ms'


@pytest.mark.parametrize(("by_peer", "reason", "words"), [(True, "", ""), (False, "b\nye", r' "b\nye"')])
def test_a_websocket(by_peer: bool, reason: str, words: str) -> None:
    line = websocket_line(("192.0.2.1", 80), "/ü", 1000, reason, 61.25, (1, 20), (3, 400), by_peer=by_peer)
    who = "peer" if by_peer else "server"
    assert line == (
        rf'192.0.2.1:80 "WS /\xfc" closed 1000{words} by {who} after 61.2 s, '
        "in 1 messages 20 bytes, out 3 messages 400 bytes"
    )
