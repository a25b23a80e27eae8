"""The bus: the hubs of several processes of one machine share what is published.

Every process has a stream socket to every other one. What a turn of the loop publishes leaves at its end in
one write for each peer, in the order of publishing over all topics.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

from fastws.pubsub.bus.following import Following
from fastws.pubsub.bus.holdings import Holdings
from fastws.pubsub.bus.lanes import Lane, names_of
from fastws.pubsub.bus.link import Link
from fastws.pubsub.bus.numbering import Numbering
from fastws.pubsub.bus.outgoing import Outgoing
from fastws.pubsub.bus.peer import MAX_WAITING_BYTES, Peer
from fastws.pubsub.bus.receiving import Incoming, Receiver
from fastws.pubsub.bus.records import BadRecord, Flag, Kind, Record, encode_record
from fastws.pubsub.bus.totals import Totals

__all__ = ["Bus"]

log = logging.getLogger("fastws.error")

#: Seconds between two times at which the last numbers are told again.
TICK = 1.0
#: A topic that was silent for so many ticks is forgotten; its numbers begin again.
FORGET_TICKS = 60
#: Seconds that peers have to take what waits for them when this process leaves, and between two looks.
CLOSE_SECONDS, CLOSE_LOOK = 1.0, 0.005
#: Of so many peers that are gone it is known what they published.
PARTED_PEERS = 16
#: Up to so many peers each hears everything; with more, each is sent what it follows.
FLOODED_PEERS = 3


class BusHub(Protocol):
    """What the bus knows of a hub."""

    def _receive_run(self, topic: str, body: bytes, count: int) -> None: ...
    def _receive_gap(self, topic: str, missed: int | None, reason: str) -> None: ...
    def _topics_heard(self) -> list[str]: ...
    def count(self, topic: str) -> int: ...
    def _is_heard(self, topic: str) -> bool: ...


class Bus:
    """The member of a bus that this process is. All but :meth:`Link.publish_threadsafe` runs on one loop.

    Args:
        identity: A number of this process, different from every other member's.
        max_waiting: Bytes that may wait for one peer. Beyond them messages are dropped for it, and it is told
            how many of which topic.
        flooded_peers: Up to so many peers, each is sent everything.
    """

    def __init__(
        self, identity: int, *, max_waiting: int = MAX_WAITING_BYTES, flooded_peers: int = FLOODED_PEERS
    ) -> None:
        self.identity = identity
        self._max_waiting = max_waiting
        self.loop: asyncio.AbstractEventLoop | None = None
        self.hubs: WeakValueDictionary[str, BusHub] = WeakValueDictionary()
        self.lanes: dict[bytes, tuple[Link, Lane]] = {}
        self._peers: list[Peer] = []
        self.outgoing = Outgoing(self._peers, self.wake)
        self._timer: asyncio.TimerHandle | None = None
        self._flooded_peers = flooded_peers
        self._following = Following(self, flooded_peers)
        self._totals = Totals(self)
        #: What those published who are connected no more, by identity. Who is met again goes on with its
        #: numbers, so that what was lost between is told.
        self._parted: dict[int, dict[bytes, Incoming]] = {}
        #: What the members have of what all share.
        self.holdings = Holdings(self)
        #: Who starts workers gives a bus another one (:mod:`fastws.pubsub.keeper`).
        self.keeper = Numbering()
        #: What :meth:`wake` calls where the bus has not started: a first use may start it.
        self.on_first_use: Callable[[], None] | None = None
        #: What is called where the loop has been closed under the bus.
        self.on_loop_gone: Callable[[], None] = self.reset
        self._receiver = Receiver(self.hubs)
        #: What other threads asked for before the start.
        self._early: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        #: Started, and closed again.
        self.is_closed = False

    @property
    def missed(self) -> int:
        """Messages that other processes published and this one did not get."""
        return int(self._receiver.missed)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers whose sockets are open."""
        return tuple(self._peers)

    def join(self, hub: BusHub, name: str) -> Link:
        """Let ``hub`` share what is published. Raises ``ValueError`` where a hub of that name is there."""
        if "\0" in name:
            raise ValueError("the name of a hub has no NUL in it")
        if name in self.hubs:
            raise ValueError(
                f"this process has a hub called {name!r} already, and processes share hubs by name: "
                f'give each hub its own, as in Hub("chat"), or Hub(broker="memory") to share nothing'
            )
        if self.is_closed and self.on_first_use is not None:
            self.reset()
        self.hubs[name] = hub
        if self.loop is None and self.on_first_use is not None:
            # Not in the background of a first use only: what others publish until then does not come here.
            with suppress(RuntimeError):
                asyncio.get_running_loop().call_soon(self.wake)
        return Link(self, name)

    def leave(self, name: str) -> None:
        """Share no more what is published to the hub of that name."""
        self.hubs.pop(name, None)

    def add_peer(self, sock: socket.socket, peer_id: int | None = None) -> Peer:
        """Take another process in, at any time.

        Args:
            sock: A connected stream socket to it. The bus owns it from now on.
            peer_id: Its identity, which its hello has to say. None (default): the hello tells.
        """
        peer = Peer(
            sock,
            peer_id,
            receiver=self._receiver,
            receive=self._received,
            lost=self._lost,
            max_waiting=self._max_waiting,
        )
        self._peers.append(peer)
        self.outgoing.has_peers = True
        if self.loop is not None:
            self._start_peer(peer)
        return peer

    def drop(self, peer: Peer) -> None:
        """Let go of one peer."""
        peer.close()
        self._lost(peer, "")

    async def start(self) -> None:
        """Read and write from now on, on the running loop. Twice does no harm."""
        if self.loop is None:
            self.begin()

    def begin(self) -> None:
        """Start, on the running loop."""
        self.loop = loop = asyncio.get_running_loop()
        self.is_closed = False
        for peer in self.peers:
            self._start_peer(peer)
        self.outgoing.start(loop)
        self.keeper.start(loop)
        for lane, count in self.outgoing.lost.items():
            log.error("bus: %d messages published before the start are lost", count)
            lane.number += count
            for peer in self._peers:
                peer.dropped[lane] = count
        self.outgoing.lost.clear()
        self._timer = loop.call_later(TICK, self._tick)
        early, self._early = self._early, []
        for function, args in early:
            loop.call_soon(function, *args)
        # A first use starts the bus in the middle of what it does.
        loop.call_soon(self.outgoing.flush)

    async def close(self) -> None:
        """Tell the others what is left to tell, and let go of them.

        A peer that does not take it within a second is not sent it, and the log says so.
        """
        if self.loop is not None:
            self.outgoing.flush()
            for _ in range(int(CLOSE_SECONDS / CLOSE_LOOK)):
                if not any(peer.waiting or peer.dropped for peer in self._peers):
                    break
                await asyncio.sleep(CLOSE_LOOK)
        if self._timer is not None:
            self._timer.cancel()
        await self.keeper.close()
        for peer in self.peers:
            if peer.waiting or peer.dropped:
                text = (
                    "bus: process %s has not read, and misses %d bytes and %d messages at the end of this one"
                )
                log.error(text, peer.identity, peer.waiting, sum(peer.dropped.values()))
            self.drop(peer)
        self.outgoing.stop()
        self.loop = None
        self.is_closed = True

    def reset(self, *, forked: bool = False) -> None:
        """Be as before the start, without peers: the loop is gone, or this process is a fork."""
        for peer in self.peers:
            peer.close(forked=forked)
            self.holdings.lost(peer)
        self._peers.clear()
        self.outgoing.reset()
        self.keeper.reset(forked=forked)
        self._early.clear()
        self._following = Following(self, self._flooded_peers)
        self._totals = Totals(self)
        self._parted.clear()
        self.loop = self._timer = None
        self.is_closed = False

    def forget_closed_loop(self) -> None:
        """Begin anew where the loop of the bus has been closed."""
        if self.loop is not None and self.loop.is_closed():
            self.on_loop_gone()

    def call_at_start(self, function: Callable[..., object], *args: object) -> None:
        """Call on the loop of the bus when it starts. May be called in any thread."""
        if not self.is_closed:
            self._early.append((function, args))

    async def total(self, key: bytes, here: int, timeout: float) -> int:
        """Return how many listen to a topic in all processes, ``here`` in this one."""
        return await self._totals.ask(key, here, timeout)

    def follow(self, key: bytes) -> None:
        """Hear a topic that has its first subscriber now. Raises ``RuntimeError`` in another thread."""
        self.forget_closed_loop()
        self.check_thread()
        if self.loop is None:
            self.wake()
        self._following.follow(key)

    # -- what leaves ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Let what waits leave at the end of this turn; or start, where a first use does."""
        self.forget_closed_loop()
        loop = self.loop
        if loop is None:
            if self.on_first_use is not None and not self.is_closed:
                self.on_first_use()
            return
        self.check_thread()
        loop.call_soon(self.outgoing.flush)

    def check_thread(self) -> None:
        """Raise ``RuntimeError`` in another thread than that of the running loop of the bus."""
        loop = self.loop
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if loop is not None and running is not loop and loop.is_running():
            raise RuntimeError(
                "a hub on a bus belongs to the loop of the bus; use publish_threadsafe elsewhere"
            )

    def tell(self, record: bytes) -> None:
        """Write a record to every peer, behind what was published."""
        self.outgoing.flush()
        for peer in self.peers:
            peer.write(record)

    def _tick(self) -> None:
        """Once a second: tell the last numbers again, forget silent topics, log what was missed."""
        assert self.loop is not None
        self._timer = self.loop.call_later(TICK, self._tick)
        self.outgoing.flush()
        for key, (link, lane) in list(self.lanes.items()):
            lane.silent_ticks += 1
            forget = lane.silent_ticks >= FORGET_TICKS and not any(
                lane in peer.dropped for peer in self._peers
            )
            if lane.is_told and not forget:
                continue
            lane.is_told = True
            flag = Flag.FORGET if forget else Flag.NONE
            record = encode_record(Kind.STATE, flag, key, 0, lane.number)
            for peer in self.peers:
                # Who has missed something hears its number with the count.
                if lane not in peer.dropped and (peer.follows is None or key in peer.follows):
                    peer.write(record)
            if forget:
                del self.lanes[key]
                link.forget(lane)
        self._following.tick()
        self.holdings.tick()
        self.keeper.tick()
        self._receiver.log_missed()

    # -- what comes -----------------------------------------------------------------------------

    def _start_peer(self, peer: Peer) -> None:
        assert self.loop is not None
        peer.start(self.loop, self.identity)
        self._following.peer_came(peer)
        self.holdings.came(peer)

    def _received(self, peer: Peer, record: Record) -> None:
        kind = record.kind
        if kind in (Kind.STATE, Kind.GAP):
            self._receiver.take_number(peer.incoming, record, peer.identity)
        elif kind == Kind.HELLO:
            self._hello(peer, record.number)
        elif kind == Kind.FOLLOW:
            self.outgoing.flush()
            self._following.told(peer, record)
        elif kind == Kind.ASK:
            hub_name, topic = names_of(record.key)
            hub = self.hubs.get(hub_name)
            count = 0 if hub is None else hub.count(topic)
            peer.write(encode_record(Kind.ANSWER, 0, b"", count, record.number))
        elif kind == Kind.ANSWER:
            self._totals.answered(peer, record.number, record.amount)
        elif kind in (Kind.HOLD, Kind.USE):
            self.holdings.told(peer, record)
        else:
            raise BadRecord(f"a record of kind {kind}, which is for a keeper")

    def _hello(self, peer: Peer, identity: int) -> None:
        if peer.identity not in (None, identity):
            raise BadRecord(f"it says that it is {identity}")
        if any(other.identity == identity for other in self._peers if other is not peer):
            raise BadRecord("it is connected already")
        peer.identity = identity
        peer.has_said_hello = True
        parted = self._parted.pop(identity, None)
        if parted is not None:
            peer.incoming = parted
            for key, (_, lane) in self.lanes.items():
                peer.write(encode_record(Kind.STATE, 0, key, 0, lane.number))

    def _lost(self, peer: Peer, reason: str) -> None:
        if reason:
            who = "a process" if peer.identity is None else f"process {peer.identity}"
            log.error("bus: %s is dropped: %s", who, reason)
        if peer in self._peers:
            self._peers.remove(peer)
            if peer.identity is not None:
                self._parted[peer.identity] = peer.incoming
                if len(self._parted) > PARTED_PEERS:
                    del self._parted[next(iter(self._parted))]
        self.outgoing.has_peers = bool(self._peers)
        self._totals.lost(peer)
        self.holdings.lost(peer)
