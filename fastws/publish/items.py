"""The body of a request to publish: JSON objects, each a message, checked whole before one is published."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastws.feed.strict_json import BadJSON, Member, objects
from fastws.publish.limits import MAX_ITEMS
from fastws.pubsub.hub_keyed import MAX_ONCE_BYTES, REMOVAL
from fastws.pubsub.keyed import checked_key
from fastws.pubsub.notes import JSON_NOTE
from fastws.pubsub.patterns import check_name

__all__ = ["Item", "Refusal", "items_of"]

#: What an object may have; the messages are the values of one of these.
MESSAGES = ("message", "json", "base64")
FIELDS = frozenset(("topic", *MESSAGES, "key", "remove", "once"))


class Refusal(Exception):
    """Nothing of a request is published: which code, why, and at which item."""

    def __init__(self, code: str, reason: str, index: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.index = index


@dataclass(frozen=True, slots=True)
class Item:
    """One message to publish."""

    topic: str
    #: Text, bytes, or ``REMOVAL``.
    message: Any
    #: The note of a message that is JSON.
    note: bytes
    key: str | None
    once: str | None


def items_of(body: bytes) -> Iterator[Item]:
    """Return the messages of a body, one after the other. Raises :class:`Refusal`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Refusal("bad_request", "the body is not UTF-8") from None
    count = 0
    try:
        for members in objects(text, MAX_ITEMS):
            yield _item(members)
            count += 1
    except BadJSON as error:
        raise Refusal("bad_request", str(error), error.index) from None
    except (ValueError, TypeError) as error:
        raise Refusal("bad_request", str(error), count) from None
    if not count:
        raise Refusal("bad_request", "there is nothing to publish")


def _item(members: dict[str, Member]) -> Item:
    """Return the message of one object. Raises ``ValueError`` and ``TypeError``."""
    for name in members:
        if name not in FIELDS:
            raise ValueError(f"unknown field {name[:40]!r}; there are {', '.join(sorted(FIELDS))}")
    topic = _text(members, "topic")
    if topic is None:
        raise ValueError("the field 'topic' is missing")
    check_name(topic)
    key = _text(members, "key")
    if key is not None:
        checked_key(key)
    message, note = _message(members, key)
    return Item(topic, message, note, key, _once(members))


def _message(members: dict[str, Member], key: str | None) -> tuple[Any, bytes]:
    given = [name for name in MESSAGES if name in members]
    if _is_removal(members):
        if given or key is None:
            raise ValueError("'remove' goes with a 'key', and with no message")
        return REMOVAL, b""
    if len(given) != 1:
        raise ValueError("one of 'message', 'json' and 'base64' is the message")
    if given == ["json"]:
        return members["json"].source, JSON_NOTE
    text = _text(members, given[0])
    if text is None:
        raise TypeError(f"{given[0]!r} is text")
    if given == ["message"]:
        return text, b""
    try:
        return base64.b64decode(text, validate=True), b""
    except binascii.Error:
        raise ValueError("'base64' is not base64") from None


def _is_removal(members: dict[str, Member]) -> bool:
    remove = members.get("remove")
    if remove is None:
        return False
    if not isinstance(remove.value, bool):
        raise TypeError("'remove' is true or false")
    return remove.value


def _once(members: dict[str, Member]) -> str | None:
    once = _text(members, "once")
    if once is not None:
        if not 1 <= len(once.encode()) <= MAX_ONCE_BYTES:
            raise ValueError(f"'once' has 1 to {MAX_ONCE_BYTES} bytes")
        if not once.isprintable():
            raise ValueError("'once' has a character that cannot be printed")
    return once


def _text(members: dict[str, Member], name: str) -> str | None:
    member = members.get(name)
    if member is None or member.value is None:
        return None
    if not isinstance(member.value, str):
        raise TypeError(f"{name!r} is text")
    return member.value
