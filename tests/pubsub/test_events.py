"""Positions as text, there and back."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.pubsub.events import MAX_OFFSET, Position


@pytest.mark.parametrize("position", [Position("a", 0), Position("a.b:c", 17), Position("-_", MAX_OFFSET)])
def test_there_and_back(position: Position) -> None:
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    ["", ":", "a", "a:", ":1", "a:-1", "a:+1", "a:1.5", "a: 1", "a:1 ", "a:x", "a:²", "a:١", "ü:1", "a\n:1"]
    + ["\x00:1", f"a:{MAX_OFFSET + 1}", "a:" + "9" * 63, "a" * 63 + ":1", "a:1_0", "\ud800:1", "9" * 10**6],
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="not a position, which is EPOCH:OFFSET") as raised:
        Position.parse(text)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("given", [None, 5, b"a:1", ["a", 1]])
def test_what_is_no_text(given: Any) -> None:
    with pytest.raises(TypeError, match="a position is text, not"):
        Position.parse(given)


def test_counting_on() -> None:
    assert Position("a", 5).after(3) == Position("a", 8)
    assert Position("a", 5).after(-5) == Position("a", 0)
    with pytest.raises(ValueError, match="behind 0 messages or more, not -1"):
        Position("a", 5).after(-6)
