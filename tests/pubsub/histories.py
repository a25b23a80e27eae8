"""A client of topics with a history, and what is published to them."""

from __future__ import annotations

from typing import Any

from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer

__all__ = ["STEP", "Client", "never_more_than", "publish", "times_of"]

#: Seconds between two messages that are published to a topic with a rate.
STEP = 0.004


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


def times_of(loop: ManualLoop, client: Client, seen: list[tuple[float, str]]) -> None:
    """Note what a client has got by now, and when that is."""
    seen += [(loop.time(), text) for text in client.texts()]


def never_more_than(most: int, seen: list[tuple[float, str]]) -> None:
    """Check that no second has more messages than that."""
    times = [time for time, _ in seen]
    for time in times:
        assert sum(time <= each < time + 1 - 1e-6 for each in times) <= most
