"""What clients of a feed say: commands, parsed and built. No socket, no clock."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastws import json
from fastws.feed.protocol import (
    MAX_COMMAND_BYTES,
    MAX_ID_CHARACTERS,
    MAX_KEY_BYTES,
    MAX_ONCE_BYTES,
    MAX_RECENT,
)
from fastws.feed.strict_json import BadJSON, Member, members

__all__ = ["Auth", "BadCommand", "Command", "Pub", "Sub", "Unsub", "parse_command"]

#: Text as clients make it themselves: without escapes.
_LAST_ID = re.compile(
    rf',\s*"id"\s*:\s*(-?(?:0|[1-9]\d{{0,14}})|"[ !#-\[\]-~]{{0,{MAX_ID_CHARACTERS}}}")\s*\}}\s*\Z', re.ASCII
)

#: What a ``pub`` of JSON has, where nothing else is said.
_MESSAGE = {"pub", "d"}


class BadCommand(Exception):
    """A client's text is no command: what to answer."""

    def __init__(self, code: str, reason: str, id: Any = None, topic: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.id = id
        self.topic = topic


@dataclass(frozen=True, slots=True)
class Sub:
    """Listen to a topic."""

    topic: str
    since: str | None = None
    #: None: as the topic says.
    recent: int | None = None
    #: Messages per second at most; None: as the server says.
    rate: float | None = None
    id: str | int | None = None

    def build(self) -> str:
        """Return the JSON text."""
        return _text(
            {"sub": self.topic},
            since=self.since,
            recent=self.recent,
            rate=self.rate,
            id=self.id,
        )


@dataclass(frozen=True, slots=True)
class Unsub:
    """Listen to a topic no more."""

    topic: str
    id: str | int | None = None

    def build(self) -> str:
        return _text({"unsub": self.topic}, id=self.id)


class Pub(NamedTuple):
    """Publish: JSON, bytes, or the end of a key. Of all commands it comes most often."""

    topic: str
    #: JSON text, as the client wrote it.
    source: str | None = None
    data: bytes | None = None
    key: str | None = None
    remove: bool = False
    once: str | None = None
    id: str | int | None = None

    def build(self) -> str:
        head = json.dumps({"pub": self.topic}).decode()
        rest = _text(
            {},
            b=None if self.data is None else base64.b64encode(self.data).decode(),
            k=self.key,
            rm=self.remove or None,
            once=self.once,
            id=self.id,
        )
        parts = [head[:-1]]
        if self.source is not None:
            parts.append(f'"d":{self.source}')
        if rest != "{}":
            parts.append(rest[1:-1])
        return ",".join(parts) + "}"


@dataclass(frozen=True, slots=True)
class Auth:
    """Say who you are: the first time, or with a new token."""

    token: str
    id: str | int | None = None

    def build(self) -> str:
        return _text({"auth": self.token}, id=self.id)


Command = Sub | Unsub | Pub | Auth


def _text(first: dict[str, Any], **fields: Any) -> str:
    return json.dumps(first | {name: value for name, value in fields.items() if value is not None}).decode()


def parse_command(text: str | bytes) -> Command:
    """Return the command that a client's message is.

    Raises:
        BadCommand: It is none. The exception has what to answer.
    """
    if not isinstance(text, str):
        raise BadCommand("bad_request", "a command is a text message")
    # A character has at most four bytes.
    if 4 * len(text) > MAX_COMMAND_BYTES and len(text.encode("utf-8", "replace")) > MAX_COMMAND_BYTES:
        reason = f"a command has at most {MAX_COMMAND_BYTES} bytes"
        raise BadCommand("too_large", reason, _last_id(text))
    try:
        given = members(text)
    except BadJSON as error:
        raise BadCommand("bad_request", str(error)) from None
    id = _id_of(given) if "id" in given else None
    verbs = given.keys() & _VERBS
    if len(verbs) != 1:
        found = " and ".join(verb for verb in _VERBS if verb in verbs) or "none"
        raise BadCommand("bad_request", f"a command has one of sub, unsub, pub, auth; here is {found}", id)
    fields = _Fields(given, id)
    command: Command = _READERS[verbs.pop()](fields)
    return command


def _last_id(text: str) -> Any:
    """Return the id at the end of a command that is too large to be read; None where another field is last.

    What stands there is a field of the command itself, and no part of a value: behind it is one brace.
    """
    found = _LAST_ID.search(text, max(0, len(text) - 2 * MAX_ID_CHARACTERS))
    return None if found is None else json.loads(found[1])


def _id_of(given: dict[str, Member]) -> Any:
    id = given["id"].value
    if id is None or (isinstance(id, str) and len(id) <= MAX_ID_CHARACTERS):
        return id
    if isinstance(id, int) and not isinstance(id, bool) and abs(id) < 2**53:
        return id
    raise BadCommand("bad_request", f"id is an integer, or text of at most {MAX_ID_CHARACTERS} characters")


class _Fields:
    """The fields of one command, each checked when it is taken."""

    def __init__(self, given: dict[str, Member], id: Any) -> None:
        self.given = given
        self.id = id
        self.topic: str | None = None

    def bad(self, reason: str, code: str = "bad_request") -> BadCommand:
        return BadCommand(code, reason, self.id, self.topic)

    def take_topic(self, verb: str) -> str:
        name = self.given[verb].value
        if not isinstance(name, str):
            raise self.bad(f"{verb} is the name of a topic")
        self.topic = name[:255]
        return name

    def text(self, name: str, max_bytes: int) -> str | None:
        member = self.given.get(name)
        if member is None or member.value is None:
            return None
        if not isinstance(member.value, str):
            raise self.bad(f"{name} is text")
        if not 1 <= len(member.value.encode()) <= max_bytes:
            raise self.bad(f"{name} has 1 to {max_bytes} bytes")
        return member.value

    def number(self, name: str) -> float | None:
        member = self.given.get(name)
        if member is None or member.value is None:
            return None
        if isinstance(member.value, bool) or not isinstance(member.value, (int, float)):
            raise self.bad(f"{name} is a number")
        number: float = member.value
        return number


def _sub(fields: _Fields) -> Sub:
    topic = fields.take_topic("sub")
    since = fields.text("since", MAX_ONCE_BYTES)
    recent = fields.number("recent")
    if recent is not None and (not isinstance(recent, int) or not 0 <= recent <= MAX_RECENT):
        raise fields.bad(f"recent is an integer from 0 to {MAX_RECENT}")
    rate = fields.number("rate")
    if rate is not None and not 0 < rate < float("inf"):
        raise fields.bad("rate is more than 0")
    return Sub(topic, since, recent, rate, fields.id)


def _unsub(fields: _Fields) -> Unsub:
    return Unsub(fields.take_topic("unsub"), fields.id)


def _pub(fields: _Fields) -> Pub:
    topic, given = fields.take_topic("pub"), fields.given
    if given.keys() == _MESSAGE:  # as most are
        return Pub(topic, given["d"].source)
    remove = given["rm"].value if "rm" in given else False
    if not isinstance(remove, bool):
        raise fields.bad("rm is true or false")
    if ("d" in given) + ("b" in given) + remove != 1:
        raise fields.bad('a pub has one of "d", "b" and "rm":true')
    source = given["d"].source if "d" in given else None
    data = None
    if "b" in given:
        try:
            data = base64.b64decode(given["b"].value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise fields.bad("b is base64") from None
    key = fields.text("k", MAX_KEY_BYTES)
    if remove and key is None:
        raise fields.bad('"rm":true needs a key "k"')
    return Pub(topic, source, data, key, remove, fields.text("once", MAX_ONCE_BYTES), fields.id)


def _auth(fields: _Fields) -> Auth:
    token = fields.text("auth", MAX_COMMAND_BYTES)
    if token is None:
        raise fields.bad("auth is a token")
    return Auth(token, fields.id)


_READERS: dict[str, Any] = {"sub": _sub, "unsub": _unsub, "pub": _pub, "auth": _auth}
_VERBS = _READERS.keys()
