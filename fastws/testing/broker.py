"""Hubs of one test that share what is published as those of several processes do, over lines that fail."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.records import Decoder, Kind, Record, encode_record, hello, split_frames
from fastws.pubsub.hub import Hub
from fastws.pubsub.keeper.client import KeeperClient
from fastws.pubsub.keeper.keeper import Keeper
from fastws.testing.loop import ManualLoop
from fastws.testing.watch import until

__all__ = ["MemoryBroker", "memory_broker"]

READ_BYTES = 64 * 1024


class Way:
    """From one hub to another: it reads what the one says, and lets the other have it."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        source.settimeout(0)
        self._source = source
        self._target = target
        self._decoder = Decoder()
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self._is_writing = False
        #: Messages that are still to be lost.
        self.lost = 0

    @classmethod
    def pair(cls, first: socket.socket, second: socket.socket) -> tuple[Way, Way]:
        """Return the ways between two sockets, one for each direction."""
        return cls(first, second), cls(second, first)

    def open(self) -> None:
        """Read from now on."""
        self._loop.add_reader(self._source.fileno(), self._readable)

    def hold(self) -> None:
        """Read nothing more: what the hub says waits with it."""
        self._loop.remove_reader(self._source.fileno())

    def close(self) -> None:
        """End the way, and its source."""
        self.hold()
        self._loop.remove_writer(self._source.fileno())
        self._source.close()

    def _readable(self) -> None:
        try:
            data = self._source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # that bus has been closed
            self.hold()
            return
        for record in self._decoder.feed(data):
            self._waiting += self._passed(record)
        self._write()

    def _passed(self, record: Record) -> bytes:
        """Return a record as it goes on: without messages that are to be lost."""
        if record.kind == Kind.HELLO:
            return hello(record.number)
        number, amount, body = record.number, record.amount, record.body
        if record.kind == Kind.RUN and self.lost:
            lost = min(self.lost, amount)
            self.lost -= lost
            if lost == amount:
                return b""
            number, amount = number + lost, amount - lost
            body = b"".join(split_frames(body, record.amount)[lost:])
        return encode_record(record.kind, record.flags, record.key, amount, number, body)

    def _write(self) -> None:
        try:
            del self._waiting[: self._target.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:  # the other bus has been closed
            self._waiting.clear()
        if bool(self._waiting) is not self._is_writing:
            self._is_writing = not self._is_writing
            if self._is_writing:
                self._loop.add_writer(self._target.fileno(), self._write)
            else:
                self._loop.remove_writer(self._target.fileno())


class MemoryBroker:
    """Joins hubs; made by :func:`memory_broker`. All of it belongs on one loop."""

    def __init__(self, hubs: tuple[Hub, ...]) -> None:
        if len({hub.name for hub in hubs}) > 1:
            raise ValueError("hubs share by their name: give all of them the same one")
        if len(hubs) < 2 or len(set(hubs)) < len(hubs):
            raise ValueError("memory_broker() joins two hubs or more, each of them once")
        self._hubs = hubs
        self._buses: list[Bus] = []
        self._ways: list[Way] = []
        #: Who numbers the messages of topics with a history or keys, and the ways to it.
        self._keeper: Keeper | None = None
        self._keeper_ways: list[Way] = []
        self._is_stopped = False

    def stop(self) -> None:
        """Let nothing through. What is published reaches the clients of its own hub, and waits for others.

        Beyond 64 MiB for each other hub it is dropped, and told as a gap. What is published to a topic with a
        history or keys reaches nobody before :meth:`start`: it has no position yet. Twice does no harm.
        """
        self._is_stopped = True
        for way in [*self._ways, *self._keeper_ways]:
            way.hold()

    def start(self) -> None:
        """Let everything through again, what has waited first. Twice does no harm."""
        self._is_stopped = False
        for way in [*self._ways, *self._keeper_ways]:
            way.open()

    def lose(self, messages: int) -> None:
        """Lose the next so many messages on their way to each other hub.

        Who listens there is told a gap before the next message of the topic, or within a second. Messages of
        topics with a history or keys are not lost: they come in the order of their positions.
        """
        for way in self._ways:
            way.lost += messages

    def forget(self) -> None:
        """Lose what topics with a history or keys keep, as when the process that numbers them has died.

        They begin anew, in another epoch: clients are told so (``Handler.on_sync``).
        """
        self._end_keeper()
        self._start_keeper()

    async def __aenter__(self) -> Self:
        if isinstance(asyncio.get_running_loop(), ManualLoop):
            raise RuntimeError("memory_broker() has sockets: it needs a loop of asyncio or uvloop")
        try:
            for number, hub in enumerate(self._hubs):
                bus = Bus(number + 1)
                bus.keeper = KeeperClient(bus, _nothing)
                hub.share_over(bus)
                for other in self._buses:
                    self._connect(other, bus)
                self._buses.append(bus)
            self._start_keeper()
            for bus in self._buses:
                await bus.start()
            self.start()
            await until(self._has_met, "the hubs have met")
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the hubs share nothing any more. What is on its way is lost."""
        self.start()
        for hub, bus in zip(self._hubs, self._buses, strict=False):
            await bus.close()
            hub.share_over(None)
        self._buses.clear()
        self._end_keeper()
        for way in self._ways:
            way.close()
        self._ways.clear()

    def _connect(self, one: Bus, two: Bus) -> None:
        first, first_end = socket.socketpair()
        second, second_end = socket.socketpair()
        one.add_peer(first, two.identity)
        two.add_peer(second, one.identity)
        self._ways += Way.pair(first_end, second_end)

    def _start_keeper(self) -> None:
        self._keeper = Keeper()
        for bus in self._buses:
            ours, ours_end = socket.socketpair()
            theirs, theirs_end = socket.socketpair()
            self._keeper.add_worker(ours, bus.identity)
            _client_of(bus).connect(theirs)
            self._keeper_ways += Way.pair(ours_end, theirs_end)
        if not self._is_stopped:
            self.start()

    def _end_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        for way in self._keeper_ways:
            way.close()
        self._keeper_ways.clear()

    def _has_met(self) -> bool:
        peers: list[Any] = [peer for bus in self._buses for peer in bus.peers]
        return all(peer.has_said_hello for peer in peers) and all(
            _client_of(bus).is_connected for bus in self._buses
        )


def _client_of(bus: Bus) -> KeeperClient:
    client = bus.keeper
    assert isinstance(client, KeeperClient)
    return client


def _nothing() -> None:
    """A topic is to be numbered: the keeper is there already."""


def memory_broker(*hubs: Hub) -> MemoryBroker:
    """Return what lets hubs of this process share, as those of several workers do: an async context manager.

    Their records are the real ones of the bus, over socket pairs of this process, and so is the keeper that
    numbers topics with a history or keys. It needs a loop of asyncio or uvloop; a :class:`ManualLoop` has no
    sockets. Behind the block such topics begin anew, and nobody listens to them.

    Args:
        hubs: Two or more of the same name, which share nothing yet: each stands for a worker's.

    Raises:
        ValueError: They are fewer, or have different names. On entering: one of them shares already, or a
            topic with a history or keys was used before.
        RuntimeError: On entering: the loop has no sockets.
        WaitTimeout: On entering: they have not met within 5 s.
    """
    return MemoryBroker(hubs)
