"""The messages of y-websocket, byte by byte."""

from __future__ import annotations

import pytest

from fastws.yjs.protocol import (
    KEEP_ALIVE,
    STEP_1,
    UPDATE,
    BadMessage,
    Entry,
    awareness_content,
    awareness_message,
    read_awareness,
    read_bytes,
    read_number,
    sync_message,
    write_number,
)
from tests.rows import all_rows

NUMBERS = {
    0: "00",
    127: "7f",
    128: "8001",
    300: "ac02",
    2**32 - 1: "ffffffff0f",
    2**53 - 1: "ffffffffffffff0f",
}


def test_numbers() -> None:
    with all_rows() as row:
        for number, written in NUMBERS.items():
            with row(number):
                assert write_number(number).hex() == written
                assert read_number(b"!" + bytes.fromhex(written) + b"!", 1) == (number, 1 + len(written) // 2)
                for end in range(len(written) // 2):
                    with pytest.raises(BadMessage, match="cut short"):
                        read_number(bytes.fromhex(written)[:end], 0)


@pytest.mark.parametrize("written", ["8080808080808010", "ffffffffffffffffff01", "80" * 4000])
def test_numbers_that_javascript_does_not_count(written: str) -> None:
    with pytest.raises(BadMessage, match="too large"):
        read_number(bytes.fromhex(written), 0)


def test_byte_strings() -> None:
    assert read_bytes(b"\x03abcd", 0) == (b"abc", 4)
    with pytest.raises(BadMessage, match="cut short"):
        read_bytes(b"\x03ab", 0)


def test_sync_messages() -> None:
    assert sync_message(STEP_1, b"\x00") == b"\x00\x00\x01\x00"
    assert sync_message(UPDATE, b"\x00\x00") == b"\x00\x02\x02\x00\x00"


def test_nothing_is_said() -> None:
    assert KEEP_ALIVE == b"\x01\x01\x00"


ENTRIES = [Entry(1, 2, b'{"a":1}'), Entry(2**32 - 1, 300, None)]


def test_awareness() -> None:
    content = awareness_content(ENTRIES)
    assert content.hex() == "020102077b2261223a317dffffffff0fac02046e756c6c"
    assert awareness_message(ENTRIES) == b"\x01" + bytes((len(content),)) + content
    assert read_awareness(content, 2) == ENTRIES


def test_bad_awareness() -> None:
    content = awareness_content(ENTRIES)
    with all_rows() as row:
        for end in range(len(content)):
            with row("cut at", end), pytest.raises(BadMessage):
                read_awareness(content[:end], 2)
    with pytest.raises(BadMessage, match="behind its end"):
        read_awareness(content + b"\x00", 2)
    with pytest.raises(BadMessage, match="2 entries; 1 are allowed"):
        read_awareness(content, 1)
