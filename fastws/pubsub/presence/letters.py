"""What processes that share a hub write to each other about who is here. No I/O, no clock.

Each *owner* is a hub of one process, and counts the connections there. A letter is a JSON array: what it is,
whose it is, its number, and the rest. ``PUT`` and ``ALL`` count: each has the number after the last one. Any
other one says that last number, so that who has missed something learns of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastws.connection.publication import payload_of
from fastws.json import dumps, loads
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.presence.people import Person
from fastws.pubsub.presence.shown import NOTHING

__all__ = ["PRESENCE", "Entries", "Kind", "Letter", "entry", "parcels", "read", "write"]

#: The topic by which they go. No client can ask for a name with a control character.
PRESENCE = "\0presence"
TEXT = int(Opcode.TEXT)
#: Bytes of the entries of one letter.
PARCEL_BYTES = 64 * 1024

#: By id: how many connections, and what is shown beside the name, as JSON.
Entries = dict[str, tuple[int, bytes]]


class Kind(StrEnum):
    """What a letter is."""

    #: Its owner begins; the others say BEAT.
    HELLO = "hello"
    #: Its owner lives.
    BEAT = "beat"
    #: Its owner ends.
    BYE = "bye"
    #: The owner ``to``, or each one where that is None, shall say ALL of these topics.
    ASK = "ask"
    #: Members of a topic that have other connections now; those with 0 have none.
    PUT = "put"
    #: Members of a topic, some of all: letter ``index`` of ``total``.
    ALL = "all"


#: Those that count.
COUNTING = (Kind.PUT, Kind.ALL)


@dataclass(frozen=True, slots=True)
class Letter:
    """One of them, as it came."""

    kind: Kind
    owner: str
    number: int
    #: Of ASK.
    to: str | None = None
    topics: tuple[str, ...] = ()
    #: Of PUT and ALL.
    topic: str = ""
    entries: Entries | None = None
    #: Of ALL.
    index: int = 0
    total: int = 1

    @property
    def counts(self) -> bool:
        """True for one that has a number of its own."""
        return self.kind in COUNTING


def write(kind: Kind, owner: str, number: int, *rest: Any, entries: Iterable[bytes] | None = None) -> bytes:
    """Return the frame of a letter."""
    text = dumps([kind, owner, number, *rest])
    if entries is not None:
        text = b"%b,[%b]]" % (text[:-1], b",".join(entries))
    return encode(TEXT, text)


def entry(person: Person | None, id: str, owner: str) -> bytes:
    """Return what a letter says of one member whom its owner counts, or counts no more."""
    said = None if person is None else person.said_by(owner)
    key = dumps(id) if person is None else person.key
    count, info = (0, NOTHING) if said is None else said
    return b"[%b,%d,%b]" % (key, count, info)


def parcels(entries: Iterable[bytes]) -> list[list[bytes]]:
    """Part what is said of members into what fits into a letter: at least one parcel, which may be empty."""
    found: list[list[bytes]] = [[]]
    size = 0
    for each in entries:
        if size + len(each) > PARCEL_BYTES and found[-1]:
            found.append([])
            size = 0
        found[-1].append(each)
        size += len(each)
    return found


def read(frame: bytes) -> Letter:
    """Return the letter that came. Raises ``ValueError`` for what is none."""
    try:
        kind, owner, number, *rest = loads(payload_of(frame))
        if not isinstance(owner, str) or not isinstance(number, int):
            raise TypeError
        return _read(Kind(kind), owner, number, rest)
    except (ValueError, TypeError, IndexError):
        raise ValueError(f"no letter about who is here: {payload_of(frame)[:80]!r}") from None


def _read(kind: Kind, owner: str, number: int, rest: list[Any]) -> Letter:
    if kind is Kind.ASK:
        to, topics = rest
        return Letter(kind, owner, number, to=to, topics=tuple(map(_text, topics)))
    if kind is Kind.PUT:
        topic, entries = rest
        return Letter(kind, owner, number, topic=_text(topic), entries=_entries(entries))
    if kind is Kind.ALL:
        topic, index, total, entries = rest
        found = _entries(entries)
        return Letter(
            kind, owner, number, topic=_text(topic), entries=found, index=int(index), total=int(total)
        )
    return Letter(kind, owner, number)


def _entries(given: list[Any]) -> Entries:
    return {_text(id): (int(count), NOTHING if info is None else dumps(info)) for id, count, info in given}


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given
