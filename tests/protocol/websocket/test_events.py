"""Events are small values."""

from __future__ import annotations

from fastws.protocol.websocket.events import Close, Fail, Fragment, More, Ping, Pong


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


def test_fragments() -> None:
    assert Fragment("a", True) == Fragment("a", True) != Fragment("a", False)
    assert Fragment("a", True) != Fragment(b"a", True)
    assert Fragment("a", True) != "a"
    assert len({Fragment("a", True), Fragment("a", True), Fragment("a", False)}) == 2
    assert repr(Fragment(b"a", False)) == "Fragment(b'a', False)"
    assert not hasattr(More(), "__dict__")
