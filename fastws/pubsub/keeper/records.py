"""The bodies of the records between a worker and the keeper. No socket, no clock."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import Any

from fastws.pubsub.bus.records import BadRecord, Kind, Record, encode_record, split_frames
from fastws.pubsub.classes import TopicClass, TopicMode
from fastws.pubsub.events import Position
from fastws.pubsub.patterns import Pattern

__all__ = [
    "KEEPER_IDENTITY",
    "READING_REFUSED",
    "REFUSED_BY_BROKER",
    "Begin",
    "Declaration",
    "NoHubs",
    "Verdict",
    "begin_record",
    "confirm_record",
    "kept_record",
    "read_begin",
    "read_confirm",
    "read_confirmed",
    "read_kept",
    "refusal_record",
]

#: Workers are numbered from 1.
KEEPER_IDENTITY = 0
#: Of a question: the length of its id.
ONCE = struct.Struct("<H")
#: Of BEGIN: the offset of the next message, now and when it was asked for; up to which offset messages were
#: too old; then the epoch.
BEGIN = struct.Struct("<QQQ")
SECONDS = struct.Struct("<d")
#: What all workers have to declare alike.
SETTINGS = {"history", "history_bytes", "key_ttl", "max_keys", "merge", "mode", "ttl"}
MODES = [str(mode) for mode in TopicMode]
#: The number of REFUSED where a broker refuses the topic, and nobody knows for how long: who listens is told.
REFUSED_BY_BROKER = 1
#: Its count where what is published is taken, but what is kept cannot be read, or what is new not heard.
READING_REFUSED = 1


class NoHubs(dict[str, Any]):
    """The hubs of a line on which no runs come."""

    def get(self, name: str, default: Any = None) -> Any:
        """Raise :class:`BadRecord`."""
        raise BadRecord("a run of a bus, where messages come with their offsets")


def refusal_record(key: bytes, text: str, *, reading: bool = False) -> bytes:
    """Return the record by which a broker refuses a topic."""
    count = READING_REFUSED if reading else 0
    return encode_record(Kind.REFUSED, 0, key, count, REFUSED_BY_BROKER, text.encode("utf-8", "replace"))


class Declaration:
    """What a worker declares for a topic, as far as all workers have to agree.

    Args:
        settings: By name, as a :class:`TopicClass` has them.

    Raises:
        BadRecord: They are none.
    """

    __slots__ = ("body", "digest", "settings")

    def __init__(self, settings: dict[str, Any]) -> None:
        _check_settings(settings)
        self.settings = settings
        self.body = json.dumps(settings, sort_keys=True).encode()
        #: What is compared.
        self.digest = int.from_bytes(blake2b(self.body, digest_size=8).digest(), "little")

    @classmethod
    def of(cls, made: TopicClass) -> Declaration:
        """Return that of a class of topics."""
        return cls({name: getattr(made, name) for name in SETTINGS})

    @classmethod
    def read(cls, record: Record) -> Declaration:
        """Return that of a record. Raises :class:`BadRecord`."""
        try:
            settings = json.loads(record.body)
        except ValueError:
            raise BadRecord("settings that are no JSON") from None
        found = cls(settings)
        if found.digest != record.number:
            raise BadRecord("settings with the digest of others")
        return found

    def topic_class(self, name: str) -> TopicClass:
        """Return the class of that one topic, for who keeps its messages and sends them to nobody."""
        each = {**self.settings, "mode": TopicMode(self.settings["mode"])}
        local: dict[str, Any] = dict.fromkeys(("every", "max_rate", "sample", "keep", "policy", "deflate"))
        return TopicClass(pattern=Pattern(name), **local, **each)

    def differing(self, other: Declaration) -> tuple[str, str]:
        """Return in words where these settings and ``other``'s are not the same."""
        names = [name for name, value in self.settings.items() if other.settings[name] != value]
        mine, theirs = (
            ", ".join(f"{name}={each.settings[name]!r}" for name in names) for each in (self, other)
        )
        return mine, theirs


def _check_settings(settings: Any) -> None:
    if not isinstance(settings, dict) or set(settings) != SETTINGS or settings["mode"] not in MODES:
        raise BadRecord("settings of another version")
    numbers = [settings[name] for name in ("history", "history_bytes", "max_keys")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise BadRecord("settings with a number that is none")
    if (settings["mode"] == TopicMode.STREAM) is not (settings["history"] > 0):
        raise BadRecord("settings of a topic that keeps nothing")
    for name in ("ttl", "key_ttl"):
        seconds = settings[name]
        if type(seconds) is not float or not seconds > 0 or math.isnan(seconds):
            raise BadRecord(f"settings with a {name} that is none")
    if not (settings["merge"] is None or type(settings["merge"]) is str):
        raise BadRecord("settings with a merge that is no text")


def confirm_record(key: bytes, question: int, once: str | None, body: bytes) -> Record:
    """Return the question for the position of a message, or change, that is to be published."""
    known = b"" if once is None else once.encode("utf-8", "surrogatepass")
    return Record(Kind.CONFIRM, 0, key, 1, question, ONCE.pack(len(known)) + known + body)


def read_confirm(record: Record) -> tuple[str | None, bytes]:
    """Return the id of a question, and what is to be published. Raises :class:`BadRecord`."""
    body = record.body
    if len(body) < ONCE.size:
        raise BadRecord("a question without a message")
    (size,) = ONCE.unpack_from(body)
    start = ONCE.size + size
    try:
        once = body[ONCE.size : start].decode("utf-8", "surrogatepass") if size else None
    except UnicodeDecodeError:
        raise BadRecord("an id that is no text") from None
    return once, body[start:]


class Verdict(IntEnum):
    """What became of a message whose position was asked for."""

    NUMBERED = 0
    #: One with the same id has been there before.
    DUPLICATE = 1
    #: It was a key that there is no room for.
    FULL = 2
    #: It was not published: the broker behind the keeper is away, or has refused it.
    UNAVAILABLE = 3
    #: It was not published, and never can be: it is larger than the broker behind the keeper takes.
    TOO_LARGE = 4


def read_confirmed(record: Record) -> tuple[Position | None, Verdict, str]:
    """Return the position that the keeper tells, what became of the message, and why it has none."""
    try:
        verdict = Verdict(record.amount)
        if verdict in (Verdict.UNAVAILABLE, Verdict.TOO_LARGE):
            return None, verdict, record.body.decode()
        return Position.parse(record.body.decode("ascii")), verdict, ""
    except ValueError:
        raise BadRecord("a position that is none") from None


class Begin:
    """What the keeper says before it sends what it keeps of a topic."""

    __slots__ = ("asked_at", "epoch", "expired_to", "first", "next")

    def __init__(self, epoch: str, first: int, next: int, asked_at: int, expired_to: int) -> None:
        self.epoch = epoch
        #: Offsets: of the oldest message that follows, of the one to be published next, and of the one that
        #: was the next when this was asked for: there newcomers begin.
        self.first = first
        self.next = next
        self.asked_at = asked_at
        self.expired_to = expired_to


def begin_record(key: bytes, begin: Begin) -> bytes:
    """Return the record that says it."""
    body = BEGIN.pack(begin.next, begin.asked_at, begin.expired_to) + begin.epoch.encode()
    return encode_record(Kind.BEGIN, 0, key, 0, begin.first, body)


def read_begin(record: Record) -> Begin:
    """Return what a record says. Raises :class:`BadRecord`."""
    try:
        following, asked_at, expired_to = BEGIN.unpack_from(record.body)
        epoch = record.body[BEGIN.size :].decode("ascii")
    except (struct.error, UnicodeDecodeError):
        raise BadRecord("a beginning that is none") from None
    if (
        not epoch
        or not 1 <= record.number <= following
        or expired_to >= following
        or not 1 <= asked_at <= following
    ):
        raise BadRecord("a beginning with offsets that are none")
    return Begin(epoch, record.number, following, asked_at, expired_to)


def kept_record(key: bytes, offset: int, frames: Sequence[bytes], ages: Sequence[float]) -> bytes:
    """Return the record of messages that were kept, with how many seconds ago each came."""
    body = b"".join([*map(SECONDS.pack, ages), *frames])
    return encode_record(Kind.KEPT, 0, key, len(frames), offset, body)


def read_kept(record: Record) -> tuple[list[bytes], list[float]]:
    """Return the frames, and how old each is, in seconds. Raises :class:`BadRecord`."""
    count = record.amount
    start = count * SECONDS.size
    if len(record.body) < start:
        raise BadRecord("messages without their ages")
    ages = [age for (age,) in SECONDS.iter_unpack(record.body[:start])]
    if not all(age >= 0 for age in ages):
        raise BadRecord("messages of the future")
    return split_frames(record.body[start:], count), ages
