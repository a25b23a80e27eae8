"""The frames of the clients that are written in Python, beside those of the library."""

from __future__ import annotations

import pytest

from fastws.loadgen.light_frames import CLOSE, TEXT, client_frame, close_of, next_frame

SIZES = [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)]


@pytest.mark.parametrize(("size", "head"), SIZES)
def test_what_a_client_sends(size: int, head: int) -> None:
    frame = client_frame(TEXT, b"x" * size)
    assert frame[0] == 0x81 and frame[1] & 0x80
    assert len(frame) == head + 4 + size and frame[head : head + 4] == bytes(4)


@pytest.mark.parametrize(("size", "head"), SIZES)
def test_what_a_server_sends(size: int, head: int) -> None:
    masked = client_frame(TEXT, b"x" * size)
    frame = bytearray(masked[:head] + masked[head + 4 :])
    frame[1] &= 0x7F
    assert next_frame(bytearray(b"ab") + frame + b"c", 2) == (0x81, 2 + head, 2 + head + size)
    assert all(next_frame(frame[:cut], 0) is None for cut in {0, 1, head - 1, len(frame) - 1})


def test_why_it_closes() -> None:
    assert close_of(b"\x03\xf3too \xff") == (1011, "too \N{REPLACEMENT CHARACTER}")
    assert close_of(b"") == (1005, "")
    assert client_frame(CLOSE, b"\x03\xe8")[:2] == b"\x88\x82"
