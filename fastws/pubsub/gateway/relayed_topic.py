"""A topic that the broker numbers, as the gateway has it: what the broker keeps, for the workers of this
node.

The copy here is loaded when the first worker follows the topic, grows by what the broker tells, and is read
again behind a hole or an interruption. Workers are sent from it as from a keeper's own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from fastws.errors import BrokerUnavailable
from fastws.json import dumps
from fastws.pubsub.brokers.base import BrokerRefused, BrokerTopic, Entry, Item, Kept, TopicKind, Verb, name_of
from fastws.pubsub.brokers.envelope import body_of, kept_of
from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.records import BadRecord, Kind, Record, split_frames
from fastws.pubsub.events import Position
from fastws.pubsub.keeper import changes
from fastws.pubsub.keeper.kept_keys import KeptKeys
from fastws.pubsub.keeper.kept_topic import KeptStream, KeptTopic
from fastws.pubsub.keyed import checked_key

if TYPE_CHECKING:
    from fastws.pubsub.keeper.member import Member
    from fastws.pubsub.keeper.records import Declaration
    from fastws.pubsub.sequencer import Sequencer

__all__ = ["Copy", "Declared", "Relayed", "RelayedKeys", "RelayedStream", "spec_of"]

log = logging.getLogger("fastws.error")

#: An empty text.
NOTHING = kept_of(b"t")
VERBS = {changes.Verb.PUT: Verb.PUT, changes.Verb.REMOVE: Verb.REMOVE, changes.Verb.CLEAR: Verb.CLEAR}


class Copy(Enum):
    """What there is here of what the broker keeps."""

    NONE = "nobody follows it"
    LOADING = "it is read, or read again"
    LIVE = "all that is kept is here, and what is new comes"


class Declared(Enum):
    """Whether the broker knows that this node uses the topic, with its settings."""

    NO = "it has not answered"
    YES = "it does"


def spec_of(key: bytes, declaration: Declaration) -> BrokerTopic:
    """Return what the broker is told of a topic."""
    settings = declaration.settings
    return BrokerTopic(
        name_of(*names_of(key)),
        TopicKind.HISTORY if settings["history"] else TopicKind.KEYED,
        settings["history"],
        settings["history_bytes"],
        settings["ttl"],
        settings["max_keys"],
        settings["key_ttl"],
        declaration.body,
    )


class Relayed(KeptTopic):
    """What both kinds have in common. It is a base together with the class of one kind."""

    copy: Copy
    declared: Declared
    spec: BrokerTopic
    early: list[tuple[str, list[Entry]]]
    is_watched: bool
    asking: dict[Member, None]
    held: dict[Member, tuple[int, int]]
    idle_ticks: int
    current: list[Callable[[], None]]
    trouble: str

    def relay(self, declaration: Declaration) -> None:
        """Be numbered by the broker from the beginning on."""
        self.copy = Copy.NONE
        self.declared = Declared.NO
        self.spec = spec_of(self.key, declaration)
        #: Whether the broker tells what is new; and what it has told since it was asked for all.
        self.is_watched = False
        self.early = []
        #: Workers that have declared the topic, and are told when the broker has taken that.
        self.asking = {}
        #: What workers say that they have got from an earlier gateway: a digest of the epoch, what comes
        #: next.
        self.held = {}
        #: For so many seconds nobody has followed it.
        self.idle_ticks = 0
        #: Called when the copy is as far as the broker was after the call.
        self.current = []
        #: What the log was last told of it; "": nothing is wrong.
        self.trouble = ""
        self.topic.epoch = ""

    def redeclare(self, declaration: Declaration) -> None:
        """Take other settings, which nobody minds; the copy is read again."""
        super().redeclare(declaration)
        self.spec = spec_of(self.key, declaration)
        self.declared = Declared.NO

    def complain(self, label: str, error: BrokerUnavailable) -> None:
        """Say in the log what the broker does not do, once for each reason."""
        if str(error) != self.trouble:
            self.trouble = str(error)
            what = "is refused" if isinstance(error, BrokerRefused) else "waits"
            log.error("%s: topic %s %s: %s", label, self.spec.name, what, error)

    # -- what each kind does in its way ---------------------------------------------------------

    def items(self, body: bytes, count: int) -> tuple[Item, ...]:
        """Return the items of what a worker publishes. Raises :class:`BadRecord`."""
        raise NotImplementedError

    def begin(self, kept: Kept) -> None:
        """Keep what the broker keeps, and nothing else."""
        raise NotImplementedError

    def go_on(self, entries: list[Entry]) -> None:
        """Take what comes next, and tell it to those who follow."""
        raise NotImplementedError

    def fits(self, entries: list[Entry]) -> bool:
        """True where nothing is missing between what is here and these."""
        raise NotImplementedError

    # -- the copy -------------------------------------------------------------------------------

    def last_offset(self) -> int:
        """Return the offset of the last item that is here."""
        return self.topic.last_position().offset

    def position(self) -> Position | None:
        """Return the position behind all that is here; None where nothing is."""
        return self.topic.last_position() if self.topic.epoch else None

    def take_kept(self, kept: Kept) -> None:
        """Take what the broker keeps behind :meth:`position`; it is all here now."""
        self.take_early()
        before = self.last_offset()
        if kept.epoch == self.topic.epoch and self.is_behind(kept):
            self.add([entry for entry in kept.entries if entry.offset > before])
        else:
            is_same = kept.epoch == self.topic.epoch
            self.begin(kept)
            for member in list(self.followers):
                member.want(self, before + 1 if is_same else 1)

    def go_live(self) -> None:
        """All is here: take what has come meanwhile."""
        if self.copy is Copy.LOADING:
            self.copy = Copy.LIVE
            early, self.early = self.early, []
            for epoch, entries in early:
                self.take_new(epoch, entries)

    def take_early(self) -> None:
        """Take what follows on what is here and was told while it is read: it may be kept no more."""

    def is_live(self) -> bool:
        """True when all is here."""
        return self.copy is Copy.LIVE

    def is_behind(self, kept: Kept) -> bool:
        """True where that goes on behind what is here."""
        return kept.since <= self.last_offset()

    def take_new(self, epoch: str, entries: list[Entry]) -> bool:
        """Take what the broker tells; False where something is missing, and all has to be read again."""
        if self.copy is Copy.LOADING:
            self.early.append((epoch, entries))
            return True
        if epoch != self.topic.epoch:
            return False
        last = self.last_offset()
        if entries and entries[0].offset <= last:
            entries = [entry for entry in entries if entry.offset > last]
        if entries and not self.fits(entries):
            return False
        self.add(entries)
        return True

    def add(self, entries: list[Entry]) -> None:
        """Take entries that fit."""
        if entries:
            self.go_on(entries)

    def drop_copy(self) -> None:
        """Nobody follows it."""
        self.copy = Copy.NONE
        self.is_watched = False
        self.early.clear()
        self.begin(Kept("", 0, 0, []))

    def tell_gap(self, count: int) -> None:
        """Tell those who follow that messages were dropped which waited for the broker, or refused by it."""
        record = Record(Kind.GAP, 0, self.key, count, 1)
        for member in self.followers:
            member.add(self, self.next_offset(), record)


class RelayedStream(Relayed, KeptStream):
    """One with a history."""

    def __init__(self, key: bytes, declaration: Declaration, sequencer: Sequencer) -> None:
        KeptStream.__init__(self, key, declaration, sequencer)
        self.relay(declaration)

    def items(self, body: bytes, count: int) -> tuple[Item, ...]:
        return tuple([Item(body_of(frame)) for frame in split_frames(body, count)])

    def last_offset(self) -> int:
        last: int = self.topic.history.next - 1
        return last

    def fits(self, entries: list[Entry]) -> bool:
        return entries[0].offset == self.last_offset() + 1

    def take_early(self) -> None:
        for epoch, entries in self.early:
            new = [entry for entry in entries if entry.offset > self.last_offset()]
            if epoch == self.topic.epoch and new and self.fits(new):
                self.add(new)

    def begin(self, kept: Kept) -> None:
        topic = self.topic
        topic.history.begin(kept.since + 1, kept.expired_to)
        topic.epoch = kept.epoch
        self._append(kept.entries)
        topic.expire()

    def go_on(self, entries: list[Entry]) -> None:
        first = self.last_offset() + 1
        frames = self._append(entries)
        if self.followers:
            record = Record(Kind.NUMBERED, 0, self.key, len(frames), first, b"".join(frames))
            for member in self.followers:
                member.add(self, first, record)

    def _append(self, entries: list[Entry]) -> list[bytes]:
        history, now = self.topic.history, self.sequencer.time()
        frames = []
        for entry in entries:
            try:
                frame = kept_of(entry.item.body)
            except BadRecord as error:
                # It has its offset, so something has to be there.
                log.error("topic %s: the broker keeps at %d %s", self.spec.name, entry.offset, error)
                frame = NOTHING
            history.append(frame, now - entry.age)
            frames.append(frame)
        self.topic.changed()
        return frames


class RelayedKeys(Relayed, KeptKeys):
    """One with keys. What is too old the broker removes, when a gateway says so."""

    def __init__(
        self,
        key: bytes,
        declaration: Declaration,
        sequencer: Sequencer,
        on_change: Callable[[KeptTopic], None],
    ) -> None:
        KeptKeys.__init__(self, key, declaration, sequencer, on_change)
        self.relay(declaration)
        #: The offsets of values that the broker was asked to remove.
        self.expiring: set[int] = set()

    def make(self) -> None:
        KeptKeys.make(self)
        self.topic.keys.key_ttl = math.inf

    def redeclare(self, declaration: Declaration) -> None:
        Relayed.redeclare(self, declaration)
        self.topic.keys.key_ttl = math.inf

    def items(self, body: bytes, count: int) -> tuple[Item, ...]:
        found = []
        for verb, key, value in changes.read_wanted(body, count):
            if verb is not changes.Verb.CLEAR:
                try:
                    checked_key(key)
                except ValueError as error:
                    raise BadRecord(str(error)) from None
            found.append(Item(value, key, VERBS[verb]))
        return tuple(found)

    def fits(self, entries: list[Entry]) -> bool:
        return True

    def is_behind(self, kept: Kept) -> bool:
        return 0 < kept.since <= self.last_offset() or (not kept.since and not self.last_offset())

    def begin(self, kept: Kept) -> None:
        self.topic.begin_life(kept.epoch)
        self._told = 0
        keys = self.topic.keys
        if kept.cleared:
            keys.clear_at(kept.cleared)
        self._take(kept.entries)
        keys.last = self._told = kept.last
        keys.floor = max(kept.floor, kept.cleared)

    def go_on(self, entries: list[Entry]) -> None:
        self._take(entries)
        self.topic.changed()
        self._on_change(self)

    def _take(self, entries: list[Entry]) -> None:
        keys, now = self.topic.keys, self.sequencer.time()
        for entry in entries:
            item = entry.item
            if item.verb is Verb.CLEAR:
                keys.clear_at(entry.offset)
                continue
            value = item.body if item.verb is Verb.PUT else None
            keys.take(item.key, dumps(item.key), value, entry.offset, now - entry.age)
        if self.expiring:
            self.expiring = {offset for offset in self.expiring if offset > keys.cleared}

    def expired(self) -> tuple[Item, ...]:
        """Return what the broker is to remove: values that are too old."""
        keys, now = self.topic.keys, self.sequencer.time()
        if math.isinf(self.spec.key_ttl):
            return ()
        found = []
        entry = keys.after(0, keys.last)
        while entry is not None and now - entry.time >= self.spec.key_ttl:
            if entry.pair and entry.number not in self.expiring:
                self.expiring.add(entry.number)
                found.append(Item(b"", entry.key, Verb.EXPIRE, entry.number))
            entry = keys.after(entry.number, keys.last)
        return tuple(found)
