# cython: annotation_typing=False
"""The keys of a keyed topic in the order of their last change: what who is behind reads. No I/O, no clock.

Every change has a number, which has no holes. A *slot* is one change; it is stale when its key has changed
again. Who has read up to a number finds its place among the slots by bisection, and reads each key that
changed since then once, as it is now. So nobody is given an older value after a newer one.

A key that was removed stays as a tombstone, for those who have to be told. The oldest tombstones are
forgotten. Who was there before that (``floor``) cannot be told what was removed, and begins again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque

__all__ = ["Entry", "Keys", "KeysFull"]

#: Stale slots are thrown out when there are so many more than keys.
MAX_STALE_SLOTS = 64


class KeysFull(Exception):
    """One more key than there may be."""


class Entry:
    """What a key holds: ``pair`` is ``"key":value`` as JSON, empty of a tombstone; ``name`` is ``"key"``."""

    __slots__ = ("key", "name", "number", "pair", "time")

    def __init__(self, key: str, name: bytes) -> None:
        self.key = key
        self.name = name
        self.pair = b""
        #: Of its last change; 0 when it was forgotten. And when that was.
        self.number = 0
        self.time = 0.0

    @property
    def value(self) -> str:
        """The source text of the value."""
        return self.pair[len(self.name) + 1 :].decode()


class Keys:
    """Holds at most ``max_keys`` keys, each for ``key_ttl`` seconds, and as many tombstones for ``ttl``."""

    __slots__ = (
        "_entries",
        "_front",
        "_numbers",
        "_slots",
        "_tombstones",
        "cleared",
        "count",
        "floor",
        "floor_reason",
        "key_ttl",
        "last",
        "max_keys",
        "size",
        "ttl",
    )

    def __init__(self, max_keys: int, key_ttl: float, ttl: float) -> None:
        self.max_keys = max_keys
        self.key_ttl = key_ttl
        self.ttl = ttl
        #: The number of the last change.
        self.last = 0
        #: Keys that hold something, and the bytes of that.
        self.count = 0
        self.size = 0
        #: The number of the last :meth:`clear`; what was before it is told by that alone.
        self.cleared = 0
        #: The number of the newest tombstone that is forgotten, and why.
        self.floor = 0
        self.floor_reason = "limit"
        self._entries: dict[str, Entry] = {}
        self._slots: list[Entry] = []
        self._numbers = array("q")
        #: No slot before this one holds a value.
        self._front = 0
        self._tombstones: deque[tuple[int, Entry]] = deque()

    # -- changes --------------------------------------------------------------------------------

    def find(self, key: str) -> Entry | None:
        """Return what is known of a key; it may be a tombstone."""
        return self._entries.get(key)

    def put(self, key: str, name: bytes, source: bytes, now: float) -> None:
        """Let a key, which is ``name`` as JSON, hold a value. Raises :class:`KeysFull`."""
        entry = self._entries.get(key)
        if entry is None or not entry.pair:
            if self.count >= self.max_keys:
                if not self.expire(now):  # what is too old by now is in nobody's way
                    raise KeysFull
                entry = self._entries.get(key)
            self.count += 1
            if entry is None:
                entry = self._entries[key] = Entry(key, name)
        self.size -= len(entry.pair)
        entry.pair = name + b":" + source
        self.size += len(entry.pair)
        self._move(entry, now)

    def remove(self, key: str, now: float) -> bool:
        """Let a key hold nothing; False where it held nothing."""
        entry = self._entries.get(key)
        if entry is None or not entry.pair:
            return False
        self._bury(entry, now)
        return True

    def clear(self) -> bool:
        """Let no key hold anything; False where none did."""
        if not self.count:
            return False
        self.clear_at(self.last + 1)
        return True

    def clear_at(self, number: int) -> None:
        """Let no key hold anything, by the change of that number."""
        for entry in self._entries.values():
            entry.number = 0
        self._entries.clear()
        self._tombstones.clear()
        self._compact()
        self.count = self.size = 0
        self.last = self.cleared = number

    def take(self, key: str, name: bytes, source: bytes | None, number: int, time: float) -> None:
        """Take a change that has its number, behind all before, and its time; no ``source``: a removal."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, name)
        if entry.pair:
            self.count -= 1
            self.size -= len(entry.pair)
        self.last = number - 1
        if source is None:
            entry.pair = b""
            self._move(entry, time)
            self._tombstones.append((number, entry))
            while len(self._tombstones) > self.max_keys:
                self._forget_tombstone("limit")
        else:
            entry.pair = name + b":" + source
            self.count += 1
            self.size += len(entry.pair)
            self._move(entry, time)

    def expire(self, now: float) -> bool:
        """Remove what is too old at ``now``, and forget old tombstones; True where a key was removed."""
        removed = False
        while (oldest := self._oldest()) is not None and now - oldest.time >= self.key_ttl:
            self._bury(oldest, now)
            removed = True
        while self._tombstones:
            number, entry = self._tombstones[0]
            if entry.number == number and now - entry.time < self.ttl:
                break
            self._forget_tombstone("expired")
        return removed

    def next_expiry(self) -> float | None:
        """Return when the next value or tombstone is too old; None where there is none that can be."""
        oldest = self._oldest()
        due = None if oldest is None else oldest.time + self.key_ttl
        if self._tombstones:
            buried = self._tombstones[0][1].time + self.ttl
            due = buried if due is None else min(due, buried)
        return due

    def _move(self, entry: Entry, now: float) -> None:
        self.last += 1
        entry.number = self.last
        entry.time = now
        self._slots.append(entry)
        self._numbers.append(self.last)
        if len(self._slots) > 2 * len(self._entries) + MAX_STALE_SLOTS:
            self._compact()

    def _bury(self, entry: Entry, now: float) -> None:
        self.count -= 1
        self.size -= len(entry.pair)
        entry.pair = b""
        self._move(entry, now)
        self._tombstones.append((entry.number, entry))
        while len(self._tombstones) > self.max_keys:
            self._forget_tombstone("limit")

    def _forget_tombstone(self, reason: str) -> None:
        number, entry = self._tombstones.popleft()
        if entry.number == number:  # else the key holds something again
            del self._entries[entry.key]
            entry.number = 0
            self.floor = number
            self.floor_reason = reason

    def _oldest(self) -> Entry | None:
        """Return the value that was not changed for the longest time."""
        slots = self._slots
        while self._front < len(slots):
            entry = slots[self._front]
            if entry.pair and entry.number == self._numbers[self._front]:
                return entry
            self._front += 1
        return None

    def _compact(self) -> None:
        kept = [
            (entry, number)
            for entry, number in zip(self._slots, self._numbers, strict=True)
            if entry.number == number
        ]
        self._slots = [entry for entry, _ in kept]
        self._numbers = array("q", [number for _, number in kept])
        self._front = 0

    # -- reading --------------------------------------------------------------------------------

    def after(self, number: int, to: int) -> Entry | None:
        """Return the key whose last change is the first after ``number`` and up to ``to``."""
        numbers = self._numbers
        for index in range(bisect_right(numbers, number), len(numbers)):
            if numbers[index] > to:
                break
            entry = self._slots[index]
            if entry.number == numbers[index]:
                return entry
        return None

    def read(self, number: int, to: int, max_bytes: int, values: list[bytes], removed: list[bytes]) -> int:
        """Add the pairs, and the names of tombstones, that changed after ``number`` and up to ``to``.

        They have at most ``max_bytes`` with the commas between them, but one is always taken.

        Returns:
            The number up to which these are all.
        """
        numbers = self._numbers
        slots = self._slots
        size = 0
        taken = number
        for index in range(bisect_right(numbers, number), len(slots)):
            at = numbers[index]
            if at > to:
                break
            entry = slots[index]
            if entry.number != at:
                continue
            piece = entry.pair or entry.name
            size += len(piece) + 1
            if size > max_bytes and taken > number:
                return taken
            taken = at
            if entry.pair:
                values.append(piece)
            else:
                removed.append(piece)
        return max(to, number)

    def size_after(self, number: int) -> int:
        """Return the bytes of all pairs, and of the names of tombstones, that changed after ``number``."""
        numbers = self._numbers
        slots = self._slots
        size = 0
        for index in range(bisect_right(numbers, number), len(slots)):
            entry = slots[index]
            if entry.number == numbers[index]:
                size += len(entry.pair or entry.name) + 1
        return size

    def is_empty(self) -> bool:
        """True when not even a tombstone is kept."""
        return not self._entries

    def items(self) -> list[Entry]:
        """Return all keys that hold something, the last changed last."""
        return [
            entry
            for entry, number in zip(self._slots, self._numbers, strict=True)
            if entry.number == number and entry.pair
        ]
