# cython: annotation_typing=False
"""What peers publish: numbers are compared with those that had to come, and messages go to the hubs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.records import BadRecord, Flag, Kind, Record

__all__ = ["FIRST_GATEWAY", "UNKNOWN", "Incoming", "Receiver"]

log = logging.getLogger("fastws.error")

#: Compared for each record.
RUN, GAP = int(Kind.RUN), int(Kind.GAP)
BEGIN, FORGET = int(Flag.BEGIN), int(Flag.FORGET)
#: From here on, members are gateways (:mod:`fastws.pubsub.gateway`): what they say comes from other nodes.
FIRST_GATEWAY = 2**63
#: In place of the count of a GAP: messages of other nodes may be missing, and nobody knows how many.
UNKNOWN = 2**32 - 1


class Incoming:
    """What a peer publishes to one topic: which topic that is here, and the number that comes next."""

    __slots__ = ("expected", "hub_name", "topic")

    def __init__(self, hub_name: str, topic: str) -> None:
        self.hub_name = hub_name
        self.topic = topic
        #: None until the first number is known.
        self.expected: int | None = None


class Receiver:
    """Takes the runs, gaps and numbers of all peers.

    Args:
        hubs: The hubs of this process, by name.
    """

    __slots__ = ("_hubs", "_missed_by", "missed")

    def __init__(self, hubs: Mapping[str, Any]) -> None:
        self._hubs = hubs
        #: Messages that other processes published and this one did not get: in all, and since the last line
        #: of the log.
        self.missed = 0
        self._missed_by: dict[int | None, int] = {}

    def take_run(self, incomings: dict[bytes, Incoming], record: Record, identity: int | None) -> None:
        """Publish the messages of a run here. ``incomings`` is the peer's, by key."""
        incoming = self.take_number(incomings, record, identity)
        hub = self._hubs.get(incoming.hub_name)
        if hub is not None:
            hub._receive_run(incoming.topic, record.body, record.amount)

    def take_number(self, incomings: dict[bytes, Incoming], record: Record, identity: int | None) -> Incoming:
        """Compare a record's number with the one that had to come; tell what is missing between."""
        incoming: Any = incomings.get(record.key)
        if incoming is None:
            incomings[record.key] = incoming = Incoming(*names_of(record.key))
        expected, number, flags = incoming.expected, record.number, record.flags
        if flags != BEGIN:
            if record.kind == GAP and record.amount == UNKNOWN:
                self._tell(incoming, None, identity)
                missed = 0
            elif expected is None:
                missed = record.amount if record.kind == GAP else 0
            elif number < expected:
                raise BadRecord(f"its numbers went back from {expected} to {number}")
            else:
                missed = number - expected
            if missed:
                self._miss(incoming, missed, identity)
        incoming.expected = number + record.amount if record.kind == RUN else number
        if flags == FORGET:
            del incomings[record.key]
        found: Incoming = incoming
        return found

    def log_missed(self) -> None:
        """Say in the log what was missed since the last time."""
        missed, self._missed_by = self._missed_by, {}
        for identity, count in missed.items():
            if not _is_gateway(identity):  # else the gateway has said so
                log.error("bus: missed %d messages of process %s: this one read too slowly", count, identity)

    def _miss(self, incoming: Incoming, missed: int, identity: int | None) -> None:
        self.missed += missed
        self._missed_by[identity] = self._missed_by.get(identity, 0) + missed
        self._tell(incoming, missed, identity)

    def _tell(self, incoming: Incoming, missed: int | None, identity: int | None) -> None:
        hub = self._hubs.get(incoming.hub_name)
        if hub is not None:
            hub._receive_gap(incoming.topic, missed, "broker" if _is_gateway(identity) else "bus")


def _is_gateway(identity: int | None) -> bool:
    return identity is not None and identity >= FIRST_GATEWAY
