"""What the scripts in Redis are told and say, in the words of the seam. No I/O."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    Append,
    Appended,
    BrokerRefused,
    BrokerTopic,
    Entry,
    Item,
    Kept,
    TopicKind,
    Verb,
    Verdict,
    other_settings,
)
from fastws.pubsub.brokers.redis_server import refused
from fastws.pubsub.events import Position

__all__ = ["appended_of_answer", "arguments_of", "differ", "entries_of", "kept_of_answer", "settle"]

ITEM = struct.Struct("<BHI")
MS = 1000.0
#: Quicker than a call of the class.
VERBS = {int(verb): verb for verb in Verb}
VERDICTS = {b"ok": Verdict.DONE, b"duplicate": Verdict.DUPLICATE, b"full": Verdict.FULL}


def arguments_of(topic: BrokerTopic, run: Append) -> tuple[str | int | bytes, ...]:
    """Return what the scripts that append are told of a run; a message is as a channel tells it."""
    sender = f"w:{run.sender}" if run.sender else ""
    if topic.kind is TopicKind.HISTORY:
        bodies = [item.body for item in run.items]
        return (sender, run.number, *[ITEM.pack(Verb.PUT, 0, len(body)) + body for body in bodies])
    items = [each for item in run.items for each in (int(item.verb), item.key, item.body, item.offset)]
    return (sender, run.number, *items)


def appended_of_answer(topic: BrokerTopic, answer: list[Any]) -> Appended:
    """Return what became of an append. Raises :class:`BrokerRefused`."""
    if answer[0] == b"differ":
        raise differ(topic, answer)
    return Appended(Position(answer[1].decode(), answer[2]), VERDICTS[answer[0]])


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
            key = data[at : at + key_size].decode() if key_size else ""
            body = data[at + key_size : end]
            if end > len(data):
                raise ValueError("it ends within an item")
            found.append(Entry(offset, Item(body, key, VERBS.get(verb) or Verb(verb))))
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
    found_keys: dict[str, Entry] = {}
    values, changes = answer[6], answer[7]
    for key, held in zip(values[::2], values[1::2], strict=True):
        found_keys[key.decode()] = _value(key, held, now)
    for number, verb, at, key, held in changes:
        offset, name = int(number.partition(b"-")[0]), key.decode()
        entry = Entry(offset, Item(b"", name, Verb.REMOVE), max(now - int(at), 0) / MS)
        if Verb(int(verb)) is Verb.PUT:
            entry = _value(key, held, now)
        before = found_keys.get(name)
        if before is None or before.offset < entry.offset:
            found_keys[name] = entry
    entries = sorted(found_keys.values(), key=_offset)
    return Kept(epoch, last, since, entries, cleared=int(answer[4]), floor=int(answer[5]))


def _value(key: bytes, held: bytes, now: int) -> Entry:
    """Return what a key holds."""
    offset, at, value = held.split(b":", 2)
    return Entry(int(offset), Item(value, key.decode()), max(now - int(at), 0) / MS)


def _offset(entry: Entry) -> int:
    return entry.offset


def settle(future: asyncio.Future[Any], meaning: Callable[[Any], Any], answer: Any) -> None:
    """Give a future what an answer means, or why there is none."""
    if future.done():
        return
    if isinstance(answer, asyncio.CancelledError):
        future.cancel()
    elif isinstance(answer, BrokerUnavailable):
        future.set_exception(answer)
    elif isinstance(answer, Exception):
        future.set_exception(refused(answer))
    else:
        try:
            future.set_result(meaning(answer))
        except BrokerRefused as error:
            future.set_exception(error)


def differ(topic: BrokerTopic, answer: Any) -> BrokerRefused:
    """Return what is raised where another node has other settings."""
    return other_settings(topic.settings, answer[1])
