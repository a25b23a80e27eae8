"""Lines of the access log: nobody can forge one, and no secret stands in them."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.logs import conceal, escape, exception_text, http_line, peer_text, websocket_line


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


EVIL = "\x1b[31mred\n2026-01-01 00:00:00 info     forged"


def caught(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as exc:
        return exc


def noted() -> BaseException:
    error = ValueError("a note follows")
    error.add_note(EVIL)
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(EVIL),
        noted(),
        caught(ValueError("outer"), caught(KeyError(EVIL), OSError(EVIL))),
        ExceptionGroup(EVIL, [ValueError(EVIL), ExceptionGroup("inner", [caught(ValueError(EVIL))])]),
        type("Odd", (BaseException,), {"__str__": lambda self: EVIL})(),
    ],
    ids=["message", "note", "chain", "group", "str"],
)
def test_no_exception_writes_a_line_or_an_escape(error: BaseException) -> None:
    text = exception_text(error)
    assert r"\x1b[31mred" in text
    assert text.replace("\n", "").isprintable()
    forged = [line for line in text.splitlines() if "forged" in line]
    # Indented, or behind the name of the exception.
    assert forged and not any(line.startswith("2026") for line in forged)
    assert not text.endswith("\n")


def test_a_traceback_is_pythons_own_where_nothing_is_to_be_escaped() -> None:
    try:
        compile("x = (", "file.py", "exec")
    except SyntaxError as syntax:
        for error in (syntax, caught(ValueError("üöä"), syntax), caught(ValueError())):
            assert exception_text(error) == "".join(traceback.format_exception(error)).rstrip("\n")
