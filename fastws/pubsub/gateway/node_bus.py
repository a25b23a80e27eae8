"""The gateway's place on the bus of its node: it hears all that is published, and who follows what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.lanes import Lane, key_of, names_of
from fastws.pubsub.bus.link import Link
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.receiving import UNKNOWN, Receiver
from fastws.pubsub.bus.records import Flag, Kind, Record, encode_record

__all__ = ["NodeBus"]

#: The gateway never asks for less: what nobody here follows others may.
ALWAYS_FLOODED = 2**31


class NodeHub:
    """All hubs of one name of this node, as the gateway's bus knows a hub."""

    def __init__(self, name: str, bus: NodeBus) -> None:
        self.name = name
        self._bus = bus
        self.link = Link(bus, name)

    def _receive_run(self, topic: str, body: bytes, count: int) -> None:
        self._bus.on_run(self.name, topic, body, count)

    def _receive_gap(self, topic: str, missed: int | None, reason: str) -> None:
        if missed is not None:
            self._bus.on_missed(self.name, topic, missed)

    def _topics_heard(self) -> list[str]:
        return []

    def _is_heard(self, topic: str) -> bool:
        return False

    def count(self, topic: str) -> int:
        """Return how many listen at the gateway itself."""
        return 0


class NodeHubs(dict[str, Any]):
    """The hubs by name. Each name has one."""

    def __init__(self, bus: NodeBus) -> None:
        super().__init__()
        self._bus = bus

    def get(self, name: str, default: Any = None) -> NodeHub:
        """Return that of a name."""
        found = super().get(name)
        if found is None:
            found = self[name] = NodeHub(name, self._bus)
        hub: NodeHub = found
        return hub


class NodeBus(Bus):
    """A member of the bus without clients.

    Args:
        identity: Its number on the bus, one of those of gateways.
        on_run: Called with the names of hub and topic, and with what a worker has published.
        on_missed: Called with these names and how many messages of a worker have not come.
        on_follow: Called with a key, and whether somebody here follows it now.
        on_tick: Called once a second.
        on_ask: Called with the names of hub and topic; returns how many listen on other nodes.
    """

    def __init__(
        self,
        identity: int,
        *,
        on_run: Callable[[str, str, bytes, int], None],
        on_missed: Callable[[str, str, int], None],
        on_follow: Callable[..., None],
        on_tick: Callable[[], None],
        on_ask: Callable[[str, str], asyncio.Future[int]],
    ) -> None:
        Bus.__init__(self, identity, flooded_peers=ALWAYS_FLOODED)
        self.on_run = on_run
        self.on_missed = on_missed
        self._on_follow = on_follow
        self._on_tick = on_tick
        self._on_ask = on_ask
        hubs: Any = NodeHubs(self)
        self.hubs = hubs
        self._receiver = Receiver(hubs)
        #: Something was relayed in this turn.
        self._is_collecting = False
        #: Who follows a topic, by key.
        self._followers: dict[bytes, set[Peer]] = {}

    # -- who follows what -----------------------------------------------------------------------

    def _received(self, peer: Peer, record: Record) -> None:
        if record.kind == Kind.ASK:
            self._asked(peer, record)
            return
        Bus._received(self, peer, record)
        if record.kind == Kind.FOLLOW and record.flags != Flag.FILTER and peer.follows is not None:
            names_of(record.key)  # text, or no record
            if record.flags == Flag.TOPIC:
                self._follow(peer, record.key)
            else:
                self._unfollow(peer, record.key)

    def _lost(self, peer: Peer, reason: str) -> None:
        Bus._lost(self, peer, reason)
        for key in list(peer.follows or ()):
            self._unfollow(peer, key)

    def _follow(self, peer: Peer, key: bytes) -> None:
        followers = self._followers.setdefault(key, set())
        if not followers:
            self._on_follow(key, is_followed=True)
        followers.add(peer)

    def _unfollow(self, peer: Peer, key: bytes) -> None:
        followers = self._followers.get(key)
        if followers is None:
            return
        followers.discard(peer)
        if not followers:
            del self._followers[key]
            self._on_follow(key, is_followed=False)

    def _asked(self, peer: Peer, record: Record) -> None:
        """A worker wants to know how many listen: say of those on other nodes, when it is known."""

        def answer(others: asyncio.Future[int]) -> None:
            if not others.cancelled():
                peer.write(encode_record(Kind.ANSWER, 0, b"", others.result(), record.number))

        self._on_ask(*names_of(record.key)).add_done_callback(answer)

    # -- what comes from other nodes ------------------------------------------------------------

    def relay(self, hub: str, topic: str, frames: list[bytes]) -> None:
        """Give the workers that follow a topic what another node has published.

        The first of a turn at once, the others together at its end.
        """
        link = self.hubs.get(hub).link  # type: ignore[union-attr]
        for frame in frames:
            link.forward(topic, frame)
        if not self._is_collecting and self.loop is not None:
            self._is_collecting = True
            self.loop.call_soon(self._end_turn)
            self.outgoing.flush()

    def _end_turn(self) -> None:
        self._is_collecting = False

    def skip(self, hub: str, topic: str, missed: int | None) -> None:
        """Tell them that messages of another node do not come; None: nobody knows how many."""
        self.outgoing.flush()
        key = key_of(hub, topic)
        if key not in self.lanes:
            self.lanes[key] = (self.hubs.get(hub).link, Lane(key))  # type: ignore[union-attr]
        lane = self.lanes[key][1]
        if missed is None:
            record = encode_record(Kind.GAP, 0, key, UNKNOWN, lane.number)
            for peer in self.peers:
                if peer.follows is None or key in peer.follows:
                    peer.write(record)
            return
        lane.number += missed
        lane.silent_ticks = 0
        for peer in self.peers:
            if peer.follows is None or key in peer.follows:
                peer.dropped[lane] = peer.dropped.get(lane, 0) + missed
                peer.tell_dropped()

    def _tick(self) -> None:
        Bus._tick(self)
        self._on_tick()
