"""Nodes of several machines in one process: each a hub with a gateway of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastws import Hub
from fastws.pubsub.bus import registry
from tests.kit import until
from tests.kit.keepers import Client

__all__ = ["beat", "heard", "missed", "nodes", "of_topic", "rejoined"]


@asynccontextmanager
async def nodes(make: Callable[[], Any], count: int = 2, **settings: Any) -> AsyncIterator[list[Hub]]:
    """Open hubs at brokers that ``make`` makes: ``h`` has a history, ``k`` is keyed."""
    hubs = [Hub(broker=make()) for _ in range(count)]
    for hub in hubs:
        hub.topic("h", **({"history": 100} | settings))
        hub.topic("k", mode="keyed")
        await hub.start()
    try:
        yield hubs
    finally:
        for hub in hubs:
            await hub.close()


async def of_topic(hub: Hub, topic: str, **options: Any) -> Client:
    """A client that listens to a topic, when every node knows that."""
    client = Client()
    synced = hub.subscribe(client, topic, **options)
    if topic in ("h", "k"):
        await until(lambda: synced or client.syncs)
    else:
        await asyncio.sleep(0.1)
    return client


def beat() -> None:
    """Let all gateways here do at once what they do once a second."""
    for group in list(registry._groups.values()):
        gateway = getattr(group, "_gateway", None)
        if gateway is not None:
            gateway._tick()


def heard(client: Client) -> list[str]:
    return client.texts_so_far()


def missed(client: Client) -> int:
    return sum(count for _, count, _ in client.gaps)


async def rejoined(hub: Hub, topic: str = "h") -> None:
    """Wait until a broker that was away is back for a hub."""
    for _ in range(500):
        try:
            await hub.publish_confirmed(topic, "back", timeout=0.5)
            return
        except Exception:
            await asyncio.sleep(0.01)
    raise AssertionError("the broker has not come back")
