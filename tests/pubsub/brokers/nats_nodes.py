"""What tests of NATS need: brokers of several nodes at one server, and what they hear."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastws.pubsub.brokers.base import Append, BrokerTopic, Entry, Item, State, TopicKind, Verb
from fastws.pubsub.brokers.nats import NatsBroker
from fastws.pubsub.brokers.nats.failures import LineLost, NoAnswer
from tests.kit import until

__all__ = ["Node", "answered", "history", "keyed", "nodes", "put", "run"]


T = TypeVar("T")


class Node:
    """A broker, and what it tells."""

    def __init__(self, url: str) -> None:
        self.broker = NatsBroker(url)
        self.blobs: list[tuple[str, bytes]] = []
        self.lost: list[str] = []
        self.told: list[tuple[str, str, list[Entry]]] = []
        self.refusals: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.reasons: list[str] = []

    def deliver(self, name: str, blob: bytes) -> None:
        self.blobs.append((name, blob))

    def dropped(self, name: str) -> None:
        self.lost.append(name)

    def appended(self, name: str, epoch: str, entries: list[Entry]) -> None:
        self.told.append((name, epoch, entries))

    def refused(self, name: str, reason: str) -> None:
        self.refusals.append((name, reason))

    def state(self, state: State, reason: str = "") -> None:
        self.states.append(state)
        self.reasons.append(reason)

    @property
    def state_now(self) -> State:
        return self.states[-1]

    @property
    def offsets(self) -> list[int]:
        """Of all that was told, in that order."""
        return [entry.offset for _, _, entries in self.told for entry in entries]

    async def follow(self, name: str) -> None:
        """Hear a plain topic, for sure."""
        self.broker.follow(name)
        await until(lambda: self.broker._subscriptions.get(f"fastws.p.{name}") is not None)
        assert self.broker._line is not None
        await self.broker._line.flush()

    async def away(self) -> None:
        await until(lambda: self.state_now is State.AWAY)

    async def back(self) -> None:
        await until(lambda: self.state_now is State.READY)


@asynccontextmanager
async def nodes(url: str, count: int = 1, timeout: float = 10) -> AsyncIterator[list[Node]]:
    found: list[Node] = []
    try:
        for _ in range(count):
            found.append(Node(url))
            await found[-1].broker.start(found[-1], timeout)
        yield found
    finally:
        for node in found:
            await node.broker.close()


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: under load a server is silent for longer than a line waits for it."""
    for _ in range(20):
        with suppress(LineLost, NoAnswer):
            return await ask()
        await asyncio.sleep(0.1)
    return await ask()


def _topic(name: str, kind: TopicKind, **settings: Any) -> BrokerTopic:
    found = {
        "history": 0,
        "history_bytes": 2**20,
        "ttl": 300.0,
        "max_keys": 100,
        "key_ttl": math.inf,
    } | settings
    text = json.dumps({name: str(value) for name, value in found.items()}).encode()
    return BrokerTopic(name, kind, settings=text, **found)


def history(name: str = "hub/t", **settings: Any) -> BrokerTopic:
    return _topic(name, TopicKind.HISTORY, **{"history": 100} | settings)


def keyed(name: str = "hub/k", **settings: Any) -> BrokerTopic:
    return _topic(name, TopicKind.KEYED, **settings)


def run(number: int, *bodies: bytes, sender: str = "n.1", once: str | None = None) -> Append:
    return Append(sender, number, tuple(map(Item, bodies)), once)


def put(number: int, *items: Item, sender: str = "n.1") -> Append:
    return Append(sender, number, items or (Item(b"", "", Verb.CLEAR),))
