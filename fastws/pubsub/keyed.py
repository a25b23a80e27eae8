# cython: annotation_typing=False
"""A keyed topic: what each key holds now. Who keeps up is given all changes of a tick as one JSON object.

**A place in it** is a position and a target: all changes up to the position were read. Up to the target a
snapshot is read: pieces without what was removed, and without a word about it. -1 is before all of it.

A tick *releases* what was changed since the one before. Who is behind reads up to the last release and joins
those who keep up, so that the next tick brings it nothing that it has. Only a snapshot reads on up to what is
there: who subscribes behind a ``publish`` finds its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.json import dumps
from fastws.loop.timers import Timed
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.events import Live, Message, Position, Removed, Synced
from fastws.pubsub.history import NEVER_SECONDS
from fastws.pubsub.keys import Entry, Keys
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.recoveries import recovered

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.events import Event
    from fastws.pubsub.ticks import Ticker

__all__ = ["KeyedTopic"]

TEXT = int(Opcode.TEXT)
#: Bytes of one frame with several keys.
FRAME_BYTES = 64 * 1024
#: Bytes of a key, as of a topic's name.
MAX_KEY_BYTES = 255
#: Between two frames that say that nothing waits.
LIVE_SECONDS = 1.0
#: A snapshot serves others who join, until so large a part of the keys has changed since.
CHANGED_PART = 0.25

Place = tuple[int, int]


class LiveTimer(Timed):
    """Tells those who keep up where they are, at most once a second while something changes."""

    __slots__ = ("_topic", "last", "wheel")

    def __init__(self, topic: KeyedTopic) -> None:
        self.tick = 0
        self._topic = topic
        #: The wheel that it is in, and when it told last.
        self.wheel: Any = None
        self.last = 0.0

    def on_timer(self, now: float) -> float | None:
        self.last = now
        self._topic.tell_live()
        return None


class Snapshot:
    """The last snapshot of a topic: its target, and its pieces by the position before each."""

    __slots__ = ("pieces", "target")

    def __init__(self) -> None:
        self.pieces: dict[int, tuple[bytes, int]] = {}
        self.target = -1

    def begin(self, keys: Keys, changed_part: float = CHANGED_PART) -> int:
        """Return the target of one that begins now: of the last one, while few keys have changed.

        Args:
            keys: What the topic holds.
            changed_part: That part of the keys is few.
        """
        target = self.target
        is_stale = target < max(keys.cleared, keys.floor) or keys.last - target > keys.count * changed_part
        if is_stale or target < 0:
            self.pieces = {}
            self.target = keys.last
        return self.target


class KeyedTopic(NumberedTopic):
    """The frames are those of the feed protocol, and the same bytes for whoever listens."""

    __slots__ = (
        "_batch_start",
        "_head",
        "_live",
        "_room",
        "_snapshot",
        "_ticker",
        "keys",
        "released",
        "told",
    )

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, epoch: str, ticker: Ticker) -> None:
        NumberedTopic.__init__(self, name, settings, sequencer, epoch)
        self.keys = Keys(settings.max_keys, settings.key_ttl, settings.ttl)
        #: The last change that was given to those who keep up, and the last one of which ``live`` was told.
        self.released = 0
        self.told = 0
        #: The one before this turn's batch.
        self._batch_start = 0
        self._ticker = ticker
        self._live = LiveTimer(self)
        self._head = b'{"t":' + dumps(self.name)
        #: Bytes for keys in one frame.
        self._room = FRAME_BYTES - len(self._head) - len(b',"set":{},"rm":[]}')
        self._snapshot = Snapshot()

    def begin_life(self, epoch: str) -> None:
        """Hold no keys, in another life."""
        keys = self.keys
        self.keys = Keys(keys.max_keys, keys.key_ttl, keys.ttl)
        self.epoch = epoch
        self.released = self.told = self._batch_start = 0
        self._snapshot = Snapshot()

    # -- changes --------------------------------------------------------------------------------

    def put(self, key: Any, source: bytes) -> None:
        """Let a key hold a value. Raises :class:`KeysFull`, and ``ValueError`` for a bad key."""
        entry: Any = self.keys.find(key) if isinstance(key, str) else None
        name = checked_key(key) if entry is None else entry.name
        self.keys.put(key, name, source, self._sequencer.time())
        self._collect()

    def drop(self, key: str) -> bool:
        """Let a key hold nothing; False where it held nothing."""
        removed = self.keys.remove(key, self._sequencer.time())
        if removed:
            self._collect()
        return removed

    def clear(self) -> bool:
        """Let no key hold anything; False where none did."""
        cleared = self.keys.clear()
        if cleared:
            self._collect()
        return cleared

    def expire(self) -> None:
        if self.keys.expire(self._sequencer.time()):
            self._collect()

    def _collect(self) -> None:
        self.use()
        if not self.look_at or self.keys.key_ttl < self.keys.ttl:
            self._sequencer.watch(self)
        if self.subscribers or self.behind or self.followers:
            self._ticker.add(self)
            self.wake_followers()
        else:
            self.released = self.keys.last

    def release(self) -> None:
        """Give all changes since the last time to those who keep up."""
        start, self.released = self.released, self.keys.last
        if start < self.released:
            if self.subscribers:
                self._offer(self._changes(start, self.released), start)
            self.tell_live_soon()

    def tell_live_soon(self) -> None:
        """Call :meth:`tell_live` a second after the last time, or now."""
        self._sequencer.set_timer(self._live, self._live.last + LIVE_SECONDS)

    def tell_live(self) -> None:
        """Tell those who keep up that nothing waits, and those who follow."""
        if self.told < self.released:
            self.told = self.released
            if self.subscribers:
                self._offer([self.live_frame(self.released)], self.released)
            self.wake_followers()

    def _offer(self, frames: list[bytes], start: int) -> None:
        if not self.batch:
            self._batch_start = start
        first: Any = next(iter(self.subscribers))
        for frame in frames:
            seq = first.fan_out.add(self)
            self.batch.append(Publication(self, seq, None, frame))

    # -- what clients are sent ------------------------------------------------------------------

    def _changes(self, start: int, end: int) -> list[bytes]:
        frames: list[bytes] = []
        if start < self.keys.cleared:
            start = self.keys.cleared
            frames.append(self._clear_frame())
        while start < end:
            start = self._add_changes(frames, start, end)
        return frames

    def _add_changes(self, frames: list[bytes], start: int, end: int) -> int:
        values: list[bytes] = []
        removed: list[bytes] = []
        start = self.keys.read(start, end, self._room, values, removed)
        parts = [self._head]
        if values:
            parts.append(b',"set":{%b}' % b",".join(values))
        if removed:
            parts.append(b',"rm":[%b]' % b",".join(removed))
        if values or removed:
            frames.append(encode(TEXT, b"".join(parts) + b"}"))
        return start

    def _clear_frame(self) -> bytes:
        return encode(TEXT, self._head + b',"clear":true}')

    def live_frame(self, at: int) -> bytes:
        """Return what says that all changes up to ``at`` were sent."""
        return encode(TEXT, b'%b,"live":"%b:%d"}' % (self._head, self.epoch.encode(), at))

    def _snapshot_piece(self, position: int, target: int) -> tuple[bytes, int]:
        """Return one frame of a snapshot, and the position behind it.

        A piece that was made for somebody else stays right: what has changed since then comes later.
        """
        pieces = self._snapshot.pieces if target == self._snapshot.target else {}
        if position in pieces:
            return pieces[position]
        values: list[bytes] = []
        end = self.keys.read(position, target, self._room, values, [])
        frame = encode(TEXT, b'%b,"snap":{%b}}' % (self._head, b",".join(values)))
        pieces[position] = frame, end
        return frame, end

    # -- for who is behind ----------------------------------------------------------------------

    def place_of(self, batch: list[Publication]) -> Any:
        # Where the batch of this turn began: to read a value again does no harm.
        return self._batch_start, 0

    def position_at(self, place: Any) -> Position:
        return self.position(max(place[0], 0))

    def skip_forgotten(self, place: Any) -> tuple[Any, int]:
        return place, 0

    def _begin_again(self, position: int, target: int) -> tuple[Place, bool]:
        """Return the place of who was there before the last clear, or before tombstones that are forgotten.

        The second: True where it has to forget what it may hold. Who joined before the first tick holds
        more than its place says.
        """
        holds = False
        if max(position, target) < self.keys.cleared:
            holds = position >= 0
            position, target = self.keys.cleared, 0
        if max(position, target) < self.keys.floor:
            holds = holds or position >= 0
            position, target = -1, self._snapshot.begin(self.keys)
        return (position, target), holds

    def read(self, place: Any) -> tuple[list[bytes], Any]:
        """Return a few frames, and the place behind them. At the end there is a ``live`` frame."""
        frames: list[bytes] = []
        place = self._read(frames, place, self.released)
        position, target = place
        if target and position >= target:
            place = self._read(frames, (position, 0), self.keys.last)
        if self.is_end(place):
            frames.append(self.live_frame(place[0]))
        return frames, place

    def read_one(self, place: Any) -> tuple[list[bytes], Any]:
        """As :meth:`read`, but one frame at most, also of what is not released, and no ``live``.

        A snapshot that begins now has what was published since it was asked for: changes come only later.
        """
        frames: list[bytes] = []
        if place[0] < 0:
            place = -1, self._snapshot.begin(self.keys, 0)
        return frames, self._read(frames, place, self.keys.last)

    def has_read_all(self, place: Any) -> bool:
        """True where there is nothing to read."""
        return bool(place[0] >= self.keys.last)

    def _read(self, frames: list[bytes], place: Place, end: int) -> Place:
        """Add one frame at most, and return the place behind it."""
        self.expire()
        (position, target), holds = self._begin_again(*place)
        if holds:
            frames.append(self._clear_frame())
        elif position < target or position < 0:
            frame, position = self._snapshot_piece(position, target)
            frames.append(frame)
        elif position < end:
            position, target = self._add_changes(frames, position, end), 0
        return position, target

    def is_end(self, place: Any) -> bool:
        position, target = place
        return bool(position >= self.released and position >= target)

    def sync(self, since: Position | None) -> tuple[Synced, Place]:
        """Return where who asks for all changes since a position, or for a snapshot, begins."""
        self.expire()
        if since is None:
            target = self._snapshot.begin(self.keys)
            return Synced(self.name, self.position(target), snapshot=True), (-1, target)
        if since.epoch != self.epoch:
            reason = "epoch"
        elif since.offset > self.keys.last:
            reason = "future"
        elif since.offset < self.keys.floor and self.keys.cleared <= self.keys.floor:
            reason = self.keys.floor_reason
        else:
            return recovered(Synced(self.name, since, resumed=True)), (since.offset, 0)
        target = self._snapshot.begin(self.keys)
        at = self.position(target)
        synced = Synced(self.name, at, resumed=False, missed=None, reason=reason, snapshot=True)
        return recovered(synced), (-1, target)

    def join_at(self, since: Position | None, recent: int) -> tuple[Synced, Any]:
        return self.sync(since)

    # -- for who follows ------------------------------------------------------------------------

    def start(self, since: Position | None) -> tuple[Event, Any]:
        synced, place = self.sync(since)
        return synced, (*place, -1)

    def step(self, place: Any) -> tuple[Event | None, Any]:
        self.expire()
        position, target, told = place
        (position, target), holds = self._begin_again(position, target)
        if holds and not target:
            return Removed(self.name, None, self.position(position)), (position, 0, told)
        if holds:
            reason = self.keys.floor_reason
            at = self.position(target)
            again = Synced(self.name, at, resumed=False, missed=None, reason=reason, snapshot=True)
            return again, (position, target, told)
        entry = self.keys.after(position, target)
        while entry is not None and not entry.pair:
            entry = self.keys.after(entry.number, target)
        if entry is None:
            position = max(position, target)
            target = 0
            entry = self.keys.after(position, self.keys.last)
        if entry is not None:
            return self._event(entry), (entry.number, target, told)
        position = self.keys.last
        if told < self.told or told < 0:
            return Live(self.name, self.position(position)), (position, 0, position)
        return None, (position, 0, told)

    def _event(self, entry: Entry) -> Event:
        at = self.position(entry.number)
        if entry.pair:
            return Message(self.name, entry.value, at, entry.key)
        return Removed(self.name, entry.key, at)

    # -- for the sequencer ----------------------------------------------------------------------

    def kept_bytes(self) -> int:
        return self.keys.size

    def is_empty(self) -> bool:
        return self.keys.is_empty()

    def next_expiry(self) -> float | None:
        due = self.keys.next_expiry()
        return None if due is None or due >= NEVER_SECONDS else due

    def last_position(self) -> Position:
        return self.position(self.keys.last)


def checked_key(key: object) -> bytes:
    """Return a key as JSON. Raises ``TypeError`` and ``ValueError`` for what cannot be one."""
    if not isinstance(key, str):
        raise TypeError(f"key= is text, not {type(key).__name__}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"key= is no Unicode text: {key[:80]!r}") from None
    if not 1 <= size <= MAX_KEY_BYTES:
        raise ValueError(f"key= has 1 to {MAX_KEY_BYTES} bytes of UTF-8, not {size}")
    # A copy: orjson leaves its bytes in a block of 4 KiB, and these are kept.
    return bytes(memoryview(dumps(key)))
