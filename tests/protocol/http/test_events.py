"""Events of HTTP are small values."""

from __future__ import annotations

from fastws.protocol.http.events import Data, EndOfBody


def test_what_follows_a_request() -> None:
    assert Data(b"a") == Data(b"a") != Data(b"b")
    assert Data(b"a") != b"a"
    assert EndOfBody() == EndOfBody() != Data(b"")
    assert len({Data(b"a"), Data(b"a"), EndOfBody(), EndOfBody()}) == 2
    assert repr([Data(b"a"), EndOfBody()]) == "[Data(b'a'), EndOfBody()]"
