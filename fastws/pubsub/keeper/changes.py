"""Changes of keyed topics, as they travel: what a worker asks for, and what the keeper has numbered."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from fastws.pubsub.bus.records import BadRecord, Kind, Record

__all__ = ["Change", "Verb", "Wanted", "changes_record", "encode_wanted", "read_changes", "read_wanted"]

#: Of a change that is asked for: the verb, the sizes of key and value.
WANTED = struct.Struct("<BHI")
#: Of numbered changes together: up to which number these are all, and that of the last clear.
END = struct.Struct("<QQ")
#: Of each of them: its number, its age in seconds, the sizes of key and value.
CHANGE = struct.Struct("<QdHI")
#: In place of the size of a value: the key was removed.
REMOVED = 0xFFFFFFFF


class Verb(IntEnum):
    """What is asked for."""

    PUT = 1
    REMOVE = 2
    CLEAR = 3


class Wanted(NamedTuple):
    """A change that a worker asks for."""

    verb: Verb
    key: str
    value: bytes


class Change(NamedTuple):
    """A change that has its number; ``value`` is None where the key was removed."""

    number: int
    age: float
    key: str
    value: bytes | None


def encode_wanted(verb: Verb, key: str = "", value: bytes = b"") -> bytes:
    """Return the bytes of a change that is asked for."""
    name = key.encode()
    return WANTED.pack(verb, len(name), len(value)) + name + value


def read_wanted(body: bytes, count: int) -> list[Wanted]:
    """Return ``count`` changes that are asked for. Raises :class:`BadRecord`."""
    found: list[Wanted] = []
    at = 0
    try:
        while at < len(body):
            verb, key_size, size = WANTED.unpack_from(body, at)
            key_at = at + WANTED.size
            value_at = key_at + key_size
            at = value_at + size
            found.append(Wanted(Verb(verb), body[key_at:value_at].decode(), body[value_at:at]))
    except (struct.error, ValueError):
        raise BadRecord("changes that are none") from None
    if at != len(body) or len(found) != count:
        raise BadRecord(f"{count} changes of {len(found)}")
    return found


def changes_record(
    kind: Kind, key: bytes, start: int, end: int, cleared: int, changes: Iterable[Change]
) -> Record:
    """Return the record of all changes after the number ``start`` and up to ``end``, in their order."""
    parts = [END.pack(end, cleared)]
    count = 0
    for number, age, name, value in changes:
        text = name.encode()
        count += 1
        parts.append(CHANGE.pack(number, age, len(text), REMOVED if value is None else len(value)))
        parts.append(text)
        if value is not None:
            parts.append(value)
    return Record(kind, 0, key, count, start, b"".join(parts))


def read_changes(record: Record) -> tuple[int, int, list[Change]]:
    """Return up to which number these are all, that of the last clear, and them.

    Raises:
        BadRecord: They are none.
    """
    body = record.body
    found: list[Change] = []
    at = END.size
    try:
        end, cleared = END.unpack_from(body)
        while at < len(body):
            number, age, key_size, size = CHANGE.unpack_from(body, at)
            key_at = at + CHANGE.size
            value_at = key_at + key_size
            at = value_at + (0 if size == REMOVED else size)
            value = None if size == REMOVED else body[value_at:at]
            found.append(Change(number, age, body[key_at:value_at].decode(), value))
    except (struct.error, ValueError):
        raise BadRecord("changes that are none") from None
    if at != len(body) or len(found) != record.amount:
        raise BadRecord(f"{record.amount} changes of {len(found)}")
    if end < record.number or cleared > end:
        raise BadRecord("changes with numbers that are none")
    return end, cleared, found
