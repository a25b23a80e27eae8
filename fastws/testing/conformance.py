"""Whether hubs share as a broker has to let them: one table of cases for every broker, also for one of your
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket
from fastws.errors import ConnectionClosed
from fastws.pubsub.brokers.base import Broker, TopicKind
from fastws.pubsub.events import Synced
from fastws.pubsub.hub import Hub
from fastws.testing.pairs import pair
from fastws.testing.watch import until

__all__ = ["BrokerSite", "Case", "Heard"]


class Heard(Handler):
    """A client of a hub, and what it was told.

    Args:
        hub: The hub.
        topics: What it listens to.
        options: As those of ``hub.subscribe``.
    """

    def __init__(self, hub: Hub, *topics: str, **options: Any) -> None:
        self.hub = hub
        self.topics = topics
        self.options = options
        self.messages: list[str | bytes] = []
        self.gaps: list[tuple[str, int | None, str]] = []
        self.syncs: list[Synced] = []
        self.ws: WebSocket | None = None

    @property
    def missed(self) -> int:
        """How many messages were told not to come."""
        return sum(missed or 0 for _, missed, _ in self.gaps)

    def on_open(self, ws: WebSocket) -> None:
        self.ws = ws
        for topic in self.topics:
            synced = self.hub.subscribe(ws, topic, **self.options)
            if synced is not None:
                self.syncs.append(synced)

    def on_gap(self, ws: WebSocket, topic: str, missed: int | None, reason: str) -> None:
        self.gaps.append((topic, missed, reason))

    def on_sync(self, ws: WebSocket, synced: Any) -> None:
        self.syncs.append(synced)


class BrokerSite:
    """Where the cases run: hubs of several nodes that share. An async context manager, for one case each.

    Args:
        make: Makes the broker of one node: a :class:`fastws.pubsub.brokers.base.Broker`, or what else
            ``Hub(broker=...)`` takes.
    """

    #: The kinds of topics that are shared.
    kinds = frozenset(TopicKind)
    #: How many hubs a case has.
    nodes = 2
    #: True where :meth:`stop` and :meth:`start` do something.
    can_stop = False
    #: True where :meth:`lose` does.
    can_lose = False
    #: True where each hub may declare topics of its own, though they are shared.
    can_differ = True
    #: True where what is published while the broker is away reaches other nodes later, as far as they listen.
    can_queue = True

    def __init__(self, make: Callable[[], Broker | str | None]) -> None:
        self._make = make
        self.hubs: list[Hub] = []
        #: What the case is about.
        self.kind = TopicKind.PLAIN
        self._stack = AsyncExitStack()
        self._readers: list[asyncio.Task[None]] = []

    async def open(self) -> list[Hub]:
        """Return one hub for each node, not started yet."""
        brokers: list[Any] = [self._make() for _ in range(self.nodes)]
        return [Hub(broker=broker) for broker in brokers]

    async def stop(self) -> None:
        """Let the broker be away for all."""
        raise NotImplementedError

    async def start(self) -> None:
        """Let it be back."""
        raise NotImplementedError

    async def lose(self) -> None:
        """Let it lose all data, and be there."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self.hubs = await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await self._stack.aclose()
        for hub in dict.fromkeys(self.hubs):
            await hub.close()

    # -- what the cases use ---------------------------------------------------------------------

    async def join(self) -> None:
        """Start the hubs, whose topics are declared."""
        for hub in dict.fromkeys(self.hubs):
            await hub.start()

    async def listen(self, hub: Hub, *topics: str, **options: Any) -> Heard:
        """Return a client of a hub, when it hears all of these topics from every node."""
        heard = Heard(hub, *topics, **options)
        ws = await self._stack.enter_async_context(pair(heard, timeout=None))
        self._readers.append(asyncio.create_task(_read(ws, heard)))
        await until(lambda: heard.ws is not None)
        if self.kind is not TopicKind.PLAIN:
            await until(lambda: len(heard.syncs) >= len(topics), "the topic has begun", timeout=10)
        else:
            await self.settle(*topics)
        return heard

    async def settle(self, *topics: str) -> None:
        """Wait until each node hears what others publish to plain topics: probes come through."""
        await asyncio.sleep(0.1)


async def _read(ws: WebSocket, heard: Heard) -> None:
    try:
        async for message in ws:
            heard.messages.append(message)
    except ConnectionClosed:
        pass


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that hubs which share must do. ``str(case)`` names it."""

    #: What stands in the list of tests.
    name: str
    #: What kind of topics it is about.
    kind: TopicKind
    #: The case itself, at a site that is open.
    run: Callable[[BrokerSite], Awaitable[None]]
    #: Names of attributes of the site that have to be true.
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def why_not(self, site: BrokerSite) -> str:
        """Return why a site cannot have this case; "" where it can."""
        if self.kind not in site.kinds:
            return f"it carries no {self.kind} topics"
        missing = [need for need in self.needs if not getattr(site, need)]
        return f"{', '.join(missing)}: no" if missing else ""

    async def __call__(self, site: BrokerSite) -> None:
        """Run at a site that was made for it. Raises ``AssertionError`` where the broker does not conform."""
        site.kind = self.kind
        async with site:
            await self.run(site)
