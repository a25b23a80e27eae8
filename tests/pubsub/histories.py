"""A client of topics with a history, and what is published to them."""

from __future__ import annotations

from typing import Any

from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer

__all__ = ["Client", "publish"]


class Client(Peer):
    """Notes the gaps that it is told."""

    def __init__(self, loop: ManualLoop, turn: Turn, **options: Any) -> None:
        super().__init__(loop, turn, **options)
        self.loop = loop
        self.gaps: list[tuple[str, int, str]] = []

    def tell_gap(self, topic: str, missed: int, reason: str) -> bool:
        self.gaps.append((topic, missed, reason))
        return True

    def reads_on(self) -> None:
        """Its socket takes all that it had refused, and what comes then."""
        self.transport.take()
        self.loop.settle()


def publish(hub: Hub, topic: str, first: int, last: int) -> None:
    for number in range(first, last + 1):
        hub.publish(topic, str(number))
