"""A keeper and several workers' hubs in one process, on one loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.registry import installed
from fastws.pubsub.events import Synced
from fastws.pubsub.hub import Hub
from fastws.pubsub.keeper.client import KeeperClient
from fastws.pubsub.keeper.keeper import Keeper
from fastws.pubsub.keeper.shared_topic import SharedTopic
from tests.kit.buses import Listener

__all__ = ["Client", "Worker", "Workers", "workers"]


class Client(Listener):
    """A client of one worker, which notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs: list[Synced] = []
        self.got: list[str] = []
        #: Called before what it is told is noted.
        self.on_sync: Callable[[Synced], object] = bool

    def tell_sync(self, synced: Synced) -> bool:
        self.on_sync(synced)
        self.syncs.append(synced)
        return True

    def texts_so_far(self) -> list[str]:
        self.got += self.texts()
        return self.got


class Worker:
    """One worker: its bus, its way to the keeper, and a hub."""

    def __init__(self, number: int, **settings: Any) -> None:
        self.bus = Bus(number)
        self.wants = 0
        self._line = -1
        self.failed: list[int] = []
        self.bus.keeper = self.keeper = KeeperClient(self.bus, self._want, self.failed.append)
        with installed(self.bus):
            self.hub = Hub()
        self.hub.topic("t", **({"history": 100} | settings))

    def _want(self) -> None:
        self.wants += 1

    @property
    def topic(self) -> SharedTopic:
        """The topic as this worker has it."""
        return self.keeper.topics[b"default\0t"]

    def connect(self, sock: socket.socket, number: int = 0) -> None:
        self._line = sock.fileno()
        self.keeper.connect(sock, number)

    def stop_reading(self) -> None:
        """Be as slow as a worker that is stopped, for what the keeper says."""
        asyncio.get_running_loop().remove_reader(self._line)

    def read_on(self) -> None:
        peer: Any = self.keeper._peer
        asyncio.get_running_loop().add_reader(self._line, peer._readable)

    def client(self, topic: str = "t", **options: Any) -> tuple[Client, Synced | None]:
        one = Client()
        return one, self.hub.subscribe(one, topic, **options)


class Workers:
    """Those of one server."""

    def __init__(self, count: int, **settings: Any) -> None:
        self.all = [Worker(number + 1, **settings) for number in range(count)]
        self.keeper: Keeper | None = None

    def start_keeper(self, **options: Any) -> None:
        self.keeper = Keeper(**options)
        for worker in self.all:
            self.join(worker)

    def join(self, worker: Worker) -> None:
        assert self.keeper is not None
        ours, theirs = socket.socketpair()
        self.keeper.add_worker(ours, worker.bus.identity)
        worker.connect(theirs)

    def kill_keeper(self) -> None:
        """As SIGKILL does: what it has written stays readable, and nothing more is said."""
        assert self.keeper is not None
        self.keeper.close()
        self.keeper = None


@asynccontextmanager
async def workers(count: int = 2, *, keeper: bool = True, **settings: Any) -> AsyncIterator[Workers]:
    found = Workers(count, **settings)
    if keeper:
        found.start_keeper()
    for worker in found.all:
        await worker.bus.start()
    try:
        yield found
    finally:
        for worker in found.all:
            await worker.bus.close()
        if found.keeper is not None:
            found.keeper.close()
        await asyncio.sleep(0)
