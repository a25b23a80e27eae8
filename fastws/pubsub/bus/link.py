# cython: annotation_typing=False
"""What a hub holds of the bus: the way for what it publishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.pubsub.bus.lanes import Lane, key_of

__all__ = ["Link"]


class Link:
    """One hub's part in a bus. All but :meth:`call_threadsafe` runs on the loop of the bus."""

    __slots__ = ("_lanes", "_outgoing", "bus", "name")

    def __init__(self, bus: Any, name: str) -> None:
        self.bus = bus
        self.name = name
        self._outgoing = bus.outgoing
        self._lanes: dict[str, Lane] = {}

    def forward(self, topic: str, frame: bytes) -> None:
        """Send one message to the other processes, at the end of this turn.

        Raises ``ValueError`` for a name that is too long, and ``RuntimeError`` in another thread.
        """
        lane: Any = self._lanes.get(topic)
        if lane is None:
            lane = self._lane_of(topic)
        self._outgoing.add(lane, frame)

    def follow(self, topic: str) -> None:
        """Hear what other processes publish to a topic, which has its first subscriber here."""
        self.bus.follow(key_of(self.name, str.__str__(topic)))

    def forget(self, lane: Lane) -> None:
        """Number a topic no more, which was silent for long."""
        for topic, known in self._lanes.items():
            if known is lane:
                del self._lanes[topic]
                return

    def call_threadsafe(self, function: Callable[..., object], *args: object) -> None:
        """Call on the loop of the bus, or when it has started. May be called in any thread."""
        loop = self.bus.loop
        if loop is not None:
            loop.call_soon_threadsafe(function, *args)
        else:
            self.bus.call_at_start(function, *args)

    async def total(self, topic: str, here: int, timeout: float) -> int:
        """Return how many listen to a topic in all processes."""
        found: int = await self.bus.total(key_of(self.name, str.__str__(topic)), here, timeout)
        return found

    def _lane_of(self, topic: str) -> Lane:
        key = key_of(self.name, str.__str__(topic))
        known = self.bus.lanes.get(key)
        lane = Lane(key) if known is None else known[1]
        self.bus.lanes[key] = (self, lane)
        self._lanes[topic] = lane
        return lane
