"""Addresses of peers."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.protocol.http.addresses import parse_address, unmapped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("::ffff:127.0.0.1", 80, 0, 0), ("127.0.0.1", 80)),
        (("::ffff:7f00:1", 80, 0, 0), ("127.0.0.1", 80)),
        (("::ffff:x", 80, 0, 0), ("::ffff:x", 80, 0, 0)),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0)),
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        ("/run/x.sock", "/run/x.sock"),
        ("", ""),
        (None, None),
    ],
)
def test_unmapped(name: Any, expected: Any) -> None:
    assert unmapped(name) == expected


def test_parse_address() -> None:
    assert str(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(parse_address(bytes(10) + b"\xff\xff\xc0\0\2\1")) == "192.0.2.1"
    assert str(parse_address("2001:db8::1")) == "2001:db8::1"
    with pytest.raises(ValueError, match="not"):
        parse_address("not an address")
