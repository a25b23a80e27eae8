"""Who wants to hear which topics. With few members each is sent everything: a check would cost as much.

A gateway is always told, so that it follows at the broker what somebody here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.pubsub.bus.lanes import key_of, names_of
from fastws.pubsub.bus.receiving import FIRST_GATEWAY
from fastws.pubsub.bus.records import Flag, Kind, Record, encode_record

if TYPE_CHECKING:
    from fastws.pubsub.bus.peer import Peer

__all__ = ["Following"]

#: A topic without subscribers is followed for so many ticks more: a reload of all pages is no storm.
LINGER_TICKS = 10
FILTER = encode_record(Kind.FOLLOW, Flag.FILTER, b"", 0, 0)


class Following:
    """What this process follows and tells its peers, and what they tell."""

    def __init__(self, bus: Any, flooded_peers: int) -> None:
        self._bus = bus
        self._flooded_peers = flooded_peers
        #: Key -> for how many ticks nobody has listened. None while peers are few.
        self._followed: dict[bytes, int] | None = None
        self._are_many = False
        #: There has been a gateway before.
        self._had_gateway = False

    def follow(self, key: bytes) -> None:
        """A topic has its first subscriber here."""
        followed = self._followed
        if followed is None:
            return
        if key not in followed:
            self._bus.tell(encode_record(Kind.FOLLOW, Flag.TOPIC, key, 0, 0))
        followed[key] = 0

    def peer_came(self, peer: Peer) -> None:
        """Tell a new peer what to send; and all of them, when they are not few any more."""
        if _is_gateway(peer):
            self._gateway_came()
        self._are_many = self._are_many or len(self._bus.peers) > self._flooded_peers
        if self._followed is None:
            if not (self._are_many or _is_gateway(peer)):
                return
            keys = [
                key_of(name, topic) for name, hub in self._bus.hubs.items() for topic in hub._topics_heard()
            ]
            self._followed = dict.fromkeys(keys, 0)
        follows = [encode_record(Kind.FOLLOW, Flag.TOPIC, key, 0, 0) for key in self._followed]
        for one in self._bus.peers:
            if not one.is_filtered_by_us and one.is_started and (self._are_many or _is_gateway(one)):
                one.is_filtered_by_us = True
                one.write(FILTER + b"".join(follows))

    def _gateway_came(self) -> None:
        """Tell those who listen that messages of other nodes may be missing, since the last one has gone."""
        if self._had_gateway:
            for hub in list(self._bus.hubs.values()):
                for topic in hub._topics_heard():
                    hub._receive_gap(topic, None, "broker")
        self._had_gateway = True

    def told(self, peer: Peer, record: Record) -> None:
        """A peer says what it wants to hear."""
        if record.flags == Flag.FILTER:
            peer.follows = set()
        elif peer.follows is None:
            return
        elif record.flags == Flag.TOPIC:
            peer.follows.add(record.key)
            known = self._bus.lanes.get(record.key)
            number = 1 if known is None else known[1].number
            peer.write(encode_record(Kind.STATE, Flag.BEGIN, record.key, 0, number))
        else:
            peer.follows.discard(record.key)

    def tick(self) -> None:
        """Follow no more what nobody has listened to for a while."""
        if self._followed is None:
            return
        for key in list(self._followed):
            hub_name, topic = names_of(key)
            hub = self._bus.hubs.get(hub_name)
            if hub is not None and hub._is_heard(topic):
                self._followed[key] = 0
                continue
            self._followed[key] += 1
            if self._followed[key] >= LINGER_TICKS:
                del self._followed[key]
                self._bus.tell(encode_record(Kind.FOLLOW, Flag.NONE, key, 0, 0))
                for peer in self._bus.peers:
                    peer.incoming.pop(key, None)


def _is_gateway(peer: Peer) -> bool:
    return peer.identity is not None and peer.identity >= FIRST_GATEWAY
