"""What the scripts in Redis say, in the words of the seam. No I/O."""

from __future__ import annotations

import struct
from typing import Any

from fastws.pubsub.brokers.base import BrokerTopic, Entry, Item, Kept, TopicKind, Verb

__all__ = ["entries_of", "kept_of_answer"]

ITEM = struct.Struct("<BHI")
MS = 1000.0


def entries_of(data: bytes) -> tuple[str, list[Entry]]:
    """Return what a channel tells: the epoch and what is new. Raises ``ValueError``."""
    head, newline, _ = data.partition(b"\n")
    try:
        epoch, first, count = head.decode("ascii").split(" ")
        offset = int(first)
        found: list[Entry] = []
        at = len(head) + len(newline)
        while at < len(data):
            verb, key_size, size = ITEM.unpack_from(data, at)
            at += ITEM.size
            end = at + key_size + size
            key = data[at : at + key_size].decode()
            body = data[at + key_size : end]
            if end > len(data):
                raise ValueError("it ends within an item")
            found.append(Entry(offset, Item(body, key, Verb(verb))))
            offset += 1
            at = end
    except struct.error as error:
        raise ValueError(str(error)) from None
    if len(found) != int(count):
        raise ValueError(f"{count} items of {len(found)}")
    return epoch, found


def kept_of_answer(answer: list[Any], topic: BrokerTopic) -> Kept:
    """Return what is kept, from an answer to the script that reads."""
    epoch, last, now, since = answer[0].decode(), int(answer[1]), int(answer[2]), int(answer[3])
    if topic.kind is TopicKind.HISTORY:
        expired, found = int(answer[4]), answer[5]
        found.reverse()
        entries = [
            Entry(since + 1 + index, Item(body), max(now - int(at), 0) / MS)
            for index, (at, body) in enumerate(found)
        ]
        return Kept(epoch, last, since, entries, expired_to=min(expired, since))
    entries = _changes(answer[5], now) if since else _values(answer[5], now)
    return Kept(epoch, last, since, entries, cleared=int(answer[4]))


def _values(flat: list[bytes], now: int) -> list[Entry]:
    """Return all values that there are, in the order of their offsets."""
    found = []
    for key, held in zip(flat[::2], flat[1::2], strict=True):
        offset, at, value = held.split(b":", 2)
        found.append(Entry(int(offset), Item(value, key.decode()), max(now - int(at), 0) / MS))
    found.sort(key=_offset)
    return found


def _changes(rows: list[Any], now: int) -> list[Entry]:
    """Return the last change of each key, and clears."""
    found: dict[str, Entry] = {}
    for number, verb, at, key, value in rows:
        offset, name = int(number.partition(b"-")[0]), key.decode()
        found.pop(name, None)
        item = Item(value, name, Verb(int(verb)))
        found[name] = Entry(offset, item, max(now - int(at), 0) / MS)
    return sorted(found.values(), key=_offset)


def _offset(entry: Entry) -> int:
    return entry.offset
