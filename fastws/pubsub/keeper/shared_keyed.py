"""A keyed topic that the keeper numbers, as a worker has it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastws.json import dumps
from fastws.pubsub.bus.records import BadRecord, Record
from fastws.pubsub.events import Event, Position, Synced
from fastws.pubsub.keeper.changes import Verb, encode_wanted, read_changes
from fastws.pubsub.keeper.records import Begin
from fastws.pubsub.keeper.shared_topic import SharedPart
from fastws.pubsub.keyed import KeyedTopic, checked_key
from fastws.pubsub.keys import KeysFull
from fastws.pubsub.wishes import Wish

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.ticks import Ticker

__all__ = ["SharedKeyedTopic"]

#: The position of who was here before the keys began anew.
BEFORE = Position("", 0)


class SharedKeyedTopic(SharedPart, KeyedTopic):
    """It removes no value by itself: what is too old, the keeper says."""

    def __init__(
        self,
        name: str,
        settings: TopicClass,
        sequencer: Any,
        ticker: Ticker,
        client: Any,
        hub_name: str,
    ) -> None:
        KeyedTopic.__init__(self, name, replace(settings, key_ttl=math.inf), sequencer, "", ticker)
        self.share(settings, sequencer, client, hub_name)

    # -- what is published here: the keeper numbers it, and it comes back -----------------------

    def put(self, key: Any, source: bytes) -> None:
        checked_key(key)
        if self.is_live and self.keys.count >= self.keys.max_keys and not self._holds(key):
            raise KeysFull
        self.client.queue.publish(self, encode_wanted(Verb.PUT, key, source))

    def drop(self, key: str) -> bool:
        """Let a key hold nothing; False where it holds nothing as far as is known here."""
        checked_key(key)
        self.client.queue.publish(self, encode_wanted(Verb.REMOVE, key))
        return not self.is_live or self._holds(key)

    def clear(self) -> bool:
        """Let no key hold anything; False where none does as far as is known here."""
        self.client.queue.publish(self, encode_wanted(Verb.CLEAR))
        return not self.is_live or self.keys.count > 0

    def _holds(self, key: str) -> bool:
        entry = self.keys.find(key)
        return entry is not None and bool(entry.pair)

    # -- the copy -------------------------------------------------------------------------------

    def forget_all(self) -> None:
        self.begin_life("")

    def is_restart(self, begin: Begin) -> bool:
        return begin.epoch != self.epoch or begin.first == 1

    def take_begin(self, begin: Begin) -> int:
        if self.is_restart(begin):
            self.begin_life(begin.epoch)
            self.keys.floor = begin.expired_to
        elif begin.first != self.keys.last + 1:
            raise BadRecord("what is here already, or what was never asked for")
        return 0

    def receive(self, hub: Any, record: Record, *, is_new: bool) -> None:
        keys = self.keys
        if record.number != keys.last:
            raise BadRecord(f"changes after {record.number}, and not after {keys.last}")
        end, cleared, changes = read_changes(record)
        if cleared > keys.cleared:
            keys.clear_at(cleared)
        now = self.time()
        for change in changes:
            if not keys.last < change.number <= end:
                raise BadRecord("changes that are not in order")
            keys.take(change.key, dumps(change.key), change.value, change.number, now - change.age)
        keys.last = end
        if not self.subscribers:
            self.released = end  # nobody keeps up: who joins reads all of it
            if self.followers:
                self.tell_live_soon()
        self._collect()

    def join_again(self) -> tuple[Synced, Any]:
        return self.sync(BEFORE)

    def follow_waiting(self, wish: Wish) -> tuple[Event, Any]:
        return self.start(BEFORE if wish.is_again else wish.since)
