"""What an application keeps with a WebSocket."""

from __future__ import annotations

from typing import Any

__all__ = ["State"]


class State(dict[str, Any]):
    """A dictionary whose items are attributes too: ``ws.state.room`` is ``ws.state["room"]``.

    A name that a ``dict`` has, such as ``items``, is an item only, not an attribute.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the state of this WebSocket has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(f"{name!r} is a method of a dict; write state[{name!r}]")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"the state of this WebSocket has no {name!r}") from None
