"""A client of a keyed topic that holds what it was sent, as a page would."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from fastws.loop.turn import Turn
from tests.kit import ManualLoop
from tests.pubsub.histories import Client

__all__ = ["Mirror"]

#: Many clients are sent the same.
parsed = lru_cache(256)(json.loads)


class Mirror(Client):
    """Applies the frames. Values of these tests are integers that grow: an older one after a newer fails."""

    def __init__(self, loop: ManualLoop, turn: Turn, **options: Any) -> None:
        super().__init__(loop, turn, **options)
        self.state: dict[str, Any] = {}
        #: The largest value that each key ever had.
        self.newest: dict[str, int] = {}
        self.messages: list[dict[str, Any]] = []
        #: The last position that it was told.
        self.at: str | None = None

    def read(self) -> list[dict[str, Any]]:
        """Take what the socket took, apply it and return it."""
        taken = [parsed(text) for text in self.texts() if text.startswith("{")]
        for message in taken:
            self.apply(message)
        self.messages += taken
        return taken

    def apply(self, message: dict[str, Any]) -> None:
        if "live" in message:
            self.at = message["live"]
        if message.get("clear"):
            self.state.clear()
        for changes in (message.get("snap", {}), message.get("set", {})):
            for key, value in changes.items():
                if isinstance(value, int):
                    assert value >= self.newest.get(key, 0), f"{key}: {value} after {self.newest[key]}"
                    self.newest[key] = value
                self.state[key] = value
        for key in message.get("rm", []):
            self.state.pop(key, None)
