"""Nodes of several machines in one process: each a hub with a gateway of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastws import Hub
from fastws.pubsub.bus import registry
from fastws.testing import Clock
from tests.kit import until
from tests.kit.keepers import Client

__all__ = ["beat", "heard", "missed", "nodes", "nodes_in_time", "of_topic", "pumped", "rejoined"]

T = TypeVar("T")


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


@asynccontextmanager
async def nodes_in_time(clock: Clock, *brokers: Any, **topics: dict[str, Any]) -> AsyncIterator[list[Hub]]:
    """Open hubs at brokers, with these topics, while the time stands still; a second later all have met."""
    hubs = [Hub(broker=broker) for broker in brokers]
    for hub in hubs:
        for name, settings in topics.items():
            hub.topic(name, **settings)
        await pumped(clock, hub.start())
    await clock.advance(1)
    try:
        yield hubs
    finally:
        for hub in hubs:
            await pumped(clock, hub.close())


async def pumped(clock: Clock, awaitable: Awaitable[T]) -> T:
    """Await something, and let time go on meanwhile."""
    waiting = asyncio.ensure_future(awaitable)
    while not waiting.done():
        await clock.advance(0.01)
    return waiting.result()


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
            await hub.publish_confirmed(topic, "back")
            return
        except Exception:
            await asyncio.sleep(0.01)
    raise AssertionError("the broker has not come back")
