"""Which class a topic belongs to, and which names a topic with a history may have."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.config import SlowConsumerPolicy
from fastws.pubsub.hub import Hub
from fastws.pubsub.patterns import Pattern, check_name

NAMES = [
    # name, what is wrong with it (None: nothing)
    ("a", None),
    ("rooms/42", None),
    ("a.b/..c/d..", None),
    ("snow ☃ and spaces", None),
    ("x" * 255, None),
    ("ü" * 127, None),
    ("", "empty"),
    ("x" * 256, "256 bytes"),
    ("ü" * 128, "256 bytes"),
    ("/a", "segment ''"),
    ("a/", "segment ''"),
    ("a//b", "segment ''"),
    ("/", "segment ''"),
    (".", "segment '.'"),
    ("a/./b", "segment '.'"),
    ("a/..", "segment '..'"),
    ("a*", r"\*"),
    ("a\n", "control"),
    ("a\x00b", "control"),
    ("\x7f", "control"),
    ("\x85", "control"),
    ("\ud800", "Unicode"),
]


@pytest.mark.parametrize(("name", "wrong"), NAMES)
def test_names(name: str, wrong: str | None) -> None:
    if wrong is None:
        check_name(name)
    else:
        with pytest.raises(ValueError, match=f"cannot be the name of a topic: .*{wrong}"):
            check_name(name)


FITS = [
    ("rooms", ["rooms"], ["room", "rooms/1", "Rooms"]),
    ("rooms/*", ["rooms/1", "rooms/*"], ["rooms", "rooms/1/2", "room/1"]),
    ("rooms/*/log", ["rooms/1/log"], ["rooms/1", "rooms/log", "rooms/1/log/2", "rooms/1/2/log"]),
    ("*", ["a"], ["a/b"]),
    ("**", ["a", "a/b"], []),
    ("quotes/**", ["quotes/x", "quotes/x/y"], ["quotes", "quote/x"]),
    ("*/b/**", ["a/b/c", "x/b/c/d"], ["a/b", "b/c"]),
]


@pytest.mark.parametrize(("pattern", "fits", "others"), FITS)
def test_what_fits(pattern: str, fits: list[str], others: list[str]) -> None:
    made = Pattern(pattern)
    assert [name for name in [*fits, *others] if made.fits(name)] == fits


@pytest.mark.parametrize("pattern", ["a*", "**/a", "a/**/b", "a/b**", "***", "a/*b"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Hub().topic(pattern)


TIES = [
    ("rooms/*", "rooms/**", True),
    ("*/a", "*/b", False),
    ("*/a", "*/*", True),
    ("*/a", "**", True),
    ("rooms/*/a", "rooms/x/*", False),
    ("rooms/*", "rooms/*/*", False),
    ("a/**", "b/**", False),
    ("a/*/**", "a/*", False),
]


@pytest.mark.parametrize(("one", "two", "tie"), TIES)
def test_ties(one: str, two: str, tie: bool) -> None:
    for first, second in ((one, two), (two, one)):
        hub = Hub()
        hub.topic(first)
        if tie:
            with pytest.raises(ValueError, match="tie"):
                hub.topic(second, history=5)
        else:
            hub.topic(second, history=5)


def test_a_pattern_is_declared_once() -> None:
    hub = Hub()
    hub.topic("rooms/*")
    with pytest.raises(ValueError, match=r"pattern 'rooms/\*' exists already"):
        hub.topic("rooms/*", history=5)


@pytest.mark.parametrize("settings", [{"max_keys": 5}, {"key_ttl": 60}, {"history": 5, "key_ttl": 60}])
def test_what_only_keys_have(settings: Any) -> None:
    hub = Hub()
    with pytest.raises(ValueError, match=r"is for a topic with mode='keyed'"):
        hub.topic("rooms/*", **settings)
    hub.topic("rooms/*")  # nothing was declared


def test_its_own_name_wins_then_the_longest_prefix(loop: Any) -> None:
    hub = Hub()
    for number, pattern in enumerate(["**", "a/**", "a/b/*", "a/b/c", "*/b/c"]):
        if pattern == "*/b/c":
            with pytest.raises(ValueError, match="tie"):
                hub.topic(pattern)
        else:
            hub.topic(pattern, history=10 + number)
    for name, history in {"x": 10, "b/b/c": 10, "a/x": 11, "a/b": 11, "a/b/x": 12, "a/b/c": 13}.items():
        for _ in range(20):
            hub.publish(name, "x")
        assert len(loop.run(hub.history(name))) == history


def test_a_class_without_a_history_has_settings(loop: Any) -> None:
    hub = Hub()
    assert hub.topic("m/*", merge="+", policy="drop_newest").policy is SlowConsumerPolicy.DROP_NEWEST
    # No name is bad where nothing is kept.
    assert hub.publish("m/", "x") == 0


def test_what_is_used_already_cannot_be_declared() -> None:
    from fastws.loop.turn import Turn
    from fastws.testing import ManualLoop
    from tests.kit.outboxes import Peer

    with ManualLoop() as loop:  # type: ignore[abstract]
        hub = Hub()
        hub.topic("own")
        hub.topic("kept/own", history=2)
        peer = Peer(loop, Turn(loop.call_soon))
        for name in ("made", "own", "kept/own"):
            hub.subscribe(peer, name)
        hub.topic("kept/*", history=3)  # its own declaration wins
        for pattern in ("made", "*", "**", "own", "kept/own"):
            with pytest.raises(ValueError, match="exists already"):
                hub.topic(pattern, history=1)
