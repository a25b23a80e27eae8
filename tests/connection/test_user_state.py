"""What an application keeps with a WebSocket: items and attributes."""

from __future__ import annotations

import pytest

from fastws.connection.user_state import State


def test_items_are_attributes() -> None:
    state = State()
    state.room = "x"
    state["user"] = 7
    assert (state["room"], state.user, state) == ("x", 7, {"room": "x", "user": 7})
    del state.room
    assert not hasattr(state, "room")
    with pytest.raises(AttributeError, match="no 'room'"):
        del state.room


def test_a_method_is_not_hidden() -> None:
    state = State(items=3)
    with pytest.raises(AttributeError, match="a method of a dict"):
        state.items = 4  # type: ignore[assignment,method-assign]
    assert state["items"] == 3
