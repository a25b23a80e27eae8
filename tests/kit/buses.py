"""Several members of a bus in one process, each with a hub of its own, on one loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastws.loop.state import loop_state_of
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.registry import installed
from fastws.pubsub.hub import Hub
from tests.kit import until
from tests.kit.outboxes import Peer

__all__ = ["Listener", "Member", "connect", "members", "until"]


class Listener(Peer):
    """A client of one member, which notes the gaps that it is told of."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        super().__init__(loop, loop_state_of(loop).turn)
        self.gaps: list[tuple[str, int, str]] = []
        self.heard: list[str | bytes] = []

    def tell_gap(self, topic: str, missed: int, reason: str) -> bool:
        self.gaps.append((topic, missed, reason))
        return True

    def take(self) -> list[str]:
        return self.texts()


class Member:
    """One member: its bus, None in a process without one, and a hub."""

    def __init__(self, bus: Bus | None, name: str = "default", **options: Any) -> None:
        self.bus = bus
        with installed(bus):
            self.hub = Hub(name, **options)

    def listener(self, *topics: str) -> Listener:
        one = Listener()
        for topic in topics:
            self.hub.subscribe(one, topic)
        return one


def connect(one: Bus, two: Bus) -> None:
    left, right = socket.socketpair()
    one.add_peer(left, two.identity)
    two.add_peer(right, one.identity)


@asynccontextmanager
async def members(
    count: int, *, bus_options: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[list[Member]]:
    """Open ``count`` members that share a hub. One alone has no bus."""
    if count == 1:
        yield [Member(None, **options)]
        return
    buses = [Bus(number, **bus_options or {}) for number in range(count)]
    for number, bus in enumerate(buses):
        for other in buses[:number]:
            connect(other, bus)
    found = [Member(bus, **options) for bus in buses]
    for bus in buses:
        await bus.start()
    try:
        yield found
    finally:
        for bus in buses:
            await bus.close()
