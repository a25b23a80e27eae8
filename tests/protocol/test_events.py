"""Events are small values."""

from __future__ import annotations

from fastws.protocol.events import Close, Fail, Ping, Pong


def test_equality_stays_in_the_class() -> None:
    assert Ping(b"a") == Ping(b"a") != Ping(b"b")
    assert Ping(b"a") != Pong(b"a")
    assert Close(1000, "") == Close(1000, "") != Close(1000, "x")
    assert Close(1002, "") != Fail(1002, "")
    assert Ping(b"a") != b"a"


def test_hash_and_repr() -> None:
    assert len({Ping(b"a"), Ping(b"a"), Pong(b"a")}) == 2
    assert len({Close(1000, ""), Close(1000, ""), Fail(1000, "")}) == 2
    assert repr([Ping(b"a"), Close(1000, "bye")]) == "[Ping(b'a'), Close(1000, 'bye')]"


def test_small() -> None:
    for event in (Ping(b""), Pong(b""), Close(1000, ""), Fail(1000, "")):
        assert not hasattr(event, "__dict__")
