"""The line that begins a chunk, cut anywhere: every short one, of the octets that decide."""

from __future__ import annotations

import itertools

import pytest

from fastws.protocol.http.chunked import ChunkedBody
from fastws.protocol.http.strict_head import Rejected

LINES = [bytes(line) for n in range(7) for line in itertools.product(b"1;\t \r\n", repeat=n)]


def begin(*parts: bytes) -> bool | None:
    """True: the line is whole; None: more has to come; False: it is refused."""
    body, rest, expects = ChunkedBody(100), b"", None
    for part in parts:
        rest += part
        try:
            _, used = body.feed(rest)
        except Rejected:
            return False
        rest = rest[used:]
        expects = True if used else expects
    return expects


def test_a_cut_changes_nothing() -> None:
    for line in LINES:
        whole = begin(line + b"\r\n")
        if whole:
            assert begin(*(line[at : at + 1] for at in range(len(line))), b"\r", b"\n") is True, line


@pytest.mark.parametrize("line", [b"1", b"1;", b"1; \t", b"1 ;a", b"1\t;a "])
def test_a_line(line: bytes) -> None:
    assert begin(line + b"\r\n") is True
    assert begin(line) is None
    assert begin(line + b"\r") is None


@pytest.mark.parametrize("line", [b"", b"1 ", b"1 a", b"1;\r", b"x", b"1" * 17, b"1;" + b"a" * 257])
def test_what_is_none(line: bytes) -> None:
    assert begin(line + b"\r\n") is False
    assert begin(line, b"\r", b"\n") is False
