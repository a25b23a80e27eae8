"""Clients of feeds that are told who is here."""

from __future__ import annotations

import json
from typing import Any

import fastws
from fastws.pubsub.presence.shown import Shown
from tests.kit.buses import Listener

__all__ = ["Watcher"]


class Watcher(Listener):
    """One of them; others see it where it is ``shown`` as somebody."""

    def __init__(self, hub: fastws.Hub, topic: str = "t", shown: Shown | None = None) -> None:
        super().__init__()
        assert hub._subscribe_view(self, topic, None, 0) is not None
        hub._attend(self, topic, shown)

    def told(self) -> list[Any]:
        """Take what it has been told."""
        return [json.loads(each)["presence"] for each in self.take() if '"presence"' in each]
