"""A keyed topic, as the keeper has it: all changes of a turn are told together, of each key the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastws.pubsub.bus.records import BadRecord, Kind
from fastws.pubsub.keeper.changes import Change, Verb, changes_record, read_wanted
from fastws.pubsub.keeper.kept_topic import KEPT_BYTES, KeptTopic
from fastws.pubsub.keeper.records import Begin, Declaration, begin_record
from fastws.pubsub.keyed import KeyedTopic, checked_key
from fastws.pubsub.keys import KeysFull

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.keys import Entry
    from fastws.pubsub.sequencer import Sequencer
    from fastws.pubsub.ticks import Ticker

__all__ = ["KeeperKeys", "KeptKeys"]


class KeeperKeys(KeyedTopic):
    """The keys, which are sent to no client. ``on_change`` is called after each change, by time too."""

    __slots__ = ("_keeper_sequencer", "on_change")

    def __init__(
        self, name: str, settings: TopicClass, sequencer: Sequencer, epoch: str, ticker: Ticker
    ) -> None:
        KeyedTopic.__init__(self, name, settings, sequencer, epoch, ticker)
        self._keeper_sequencer = sequencer
        self.on_change: Callable[[], None] | None = None

    def _collect(self) -> None:
        self.released = self.keys.last
        self.use()
        self._keeper_sequencer.watch(self)
        if self.on_change is not None:
            self.on_change()


class KeptKeys(KeptTopic):
    """One with keys."""

    __slots__ = ("_on_change", "_told")

    topic: Any

    def __init__(
        self,
        key: bytes,
        declaration: Declaration,
        sequencer: Sequencer,
        on_change: Callable[[KeptTopic], None],
    ) -> None:
        self._on_change = on_change
        KeptTopic.__init__(self, key, declaration, sequencer)

    def make(self) -> None:
        KeptTopic.make(self)
        self.topic.on_change = lambda: self._on_change(self)
        #: The last change that followers have been told.
        self._told = 0

    def redeclare(self, declaration: Declaration) -> None:
        settings = declaration.settings
        keys = self.topic.keys
        self.declaration = declaration
        keys.max_keys, keys.key_ttl, keys.ttl = (settings[name] for name in ("max_keys", "key_ttl", "ttl"))
        self.topic.expire()

    def publish(self, body: bytes, count: int) -> None:
        full = False
        for verb, key, value in read_wanted(body, count):
            if verb is Verb.CLEAR:
                self.topic.clear()
                continue
            try:
                checked_key(key)
                if verb is Verb.PUT:
                    self.topic.put(key, value)
                else:
                    self.topic.drop(key)
            except KeysFull:
                full = True
            except ValueError as error:
                raise BadRecord(str(error)) from None
        if full:
            raise KeysFull

    def tell(self) -> None:
        keys = self.topic.keys
        if self._told < keys.last:
            start, self._told = self._told, keys.last
            if self.followers:
                record = changes_record(
                    Kind.NUMBERED, self.key, start, keys.last, keys.cleared, self._changes(start, keys.last)
                )
                for member in self.followers:
                    member.add(self, start + 1, record)

    def records(self, offset: int, asked_at: int) -> list[bytes]:
        keys = self.topic.keys
        start = offset - 1
        if start < keys.floor:
            start = 0  # what was removed since then is not known any more
        begin = Begin(self.topic.epoch, start + 1, keys.last + 1, asked_at, keys.floor)
        records = [begin_record(self.key, begin)]
        while start < keys.last:
            chunk: list[Change] = []
            size, end = 0, keys.last
            for change in self._changes(start, keys.last):
                if size > KEPT_BYTES:
                    end = chunk[-1].number
                    break
                chunk.append(change)
                size += len(change.key) + len(change.value or b"")
            # A clear is told with the first: it is before all that is kept.
            end = max(end, keys.cleared)
            record = changes_record(Kind.KEPT, self.key, start, end, keys.cleared, chunk)
            records.append(record.encoded())
            start = end
        return records

    def _changes(self, start: int, end: int) -> Iterator[Change]:
        keys, now = self.topic.keys, self.sequencer.time()
        entry: Entry | None = keys.after(start, end)
        while entry is not None:
            value = entry.pair[len(entry.name) + 1 :] if entry.pair else None
            yield Change(entry.number, max(now - entry.time, 0.0), entry.key, value)
            entry = keys.after(entry.number, end)
