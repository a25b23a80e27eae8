"""What the server says to clients of a feed: messages, built and parsed. No socket, no clock."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from fastws import json
from fastws.feed.protocol import VERSION
from fastws.feed.strict_json import loads

__all__ = [
    "Ack",
    "Beat",
    "Changes",
    "Clear",
    "Data",
    "End",
    "Error",
    "Gap",
    "Hello",
    "Live",
    "Presence",
    "ServerMessage",
    "Snapshot",
    "Sync",
    "parse_message",
]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message, and the answer to a token."""

    #: Names this connection.
    id: str
    #: The public name of the user; None for nobody in particular.
    user: str | None = None
    #: Seconds of silence after which the server says ``{}``.
    ping: float = 10
    #: Seconds until another token is needed; None for never.
    expires: float | None = None
    version: int = VERSION

    def build(self) -> bytes:
        """Return the JSON text."""
        ping = int(self.ping) if self.ping == int(self.ping) else self.ping
        said = {"v": self.version, "id": self.id, "user": self.user, "ping": ping, "expires": self.expires}
        return json.dumps({"hello": said})


@dataclass(frozen=True, slots=True)
class Sync:
    """Where a subscription begins: before anything else of its topic."""

    topic: str
    #: What to send back as ``since``; None where the topic keeps nothing.
    at: str | None = None
    #: True: everything since the position that was given comes. None: none was given.
    resumed: bool | None = None
    #: How many messages do not come; None where nobody can know.
    missed: int | None = 0
    reason: str | None = None
    #: True: forget what you hold, a snapshot comes.
    snapshot: bool = False
    #: True: messages may be left out without a position to ask for them again.
    lossy: bool = False

    def build(self) -> bytes:
        said = {
            "at": self.at,
            "resumed": self.resumed,
            "missed": self.missed,
            "reason": self.reason,
            "snapshot": self.snapshot,
            "lossy": self.lossy,
        }
        return json.dumps({"t": self.topic, "sync": said})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Keys and their values, a part of what a topic holds."""

    topic: str
    values: dict[str, Any] = field(default_factory=dict)

    def build(self) -> bytes:
        return json.dumps({"t": self.topic, "snap": self.values})


@dataclass(frozen=True, slots=True)
class Data:
    """A message that was published."""

    topic: str
    #: The value of its JSON, or ``bytes`` where it is binary.
    value: Any = None
    #: The position behind it; None where the topic keeps nothing.
    at: str | None = None
    #: Who has published it; None for the application.
    user: str | None = None

    def build(self) -> bytes:
        said: dict[str, Any] = {"t": self.topic}
        if self.at is not None:
            said["at"] = self.at
        if self.user is not None:
            said["u"] = self.user
        if isinstance(self.value, bytes):
            said["b"] = base64.b64encode(self.value).decode()
        else:
            said["d"] = self.value
        return json.dumps(said)


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys that have another value, and keys that have none any more: all changes of a tick."""

    topic: str
    values: dict[str, Any] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def build(self) -> bytes:
        said: dict[str, Any] = {"t": self.topic}
        if self.values:
            said["set"] = self.values
        if self.removed:
            said["rm"] = list(self.removed)
        return json.dumps(said)


@dataclass(frozen=True, slots=True)
class Clear:
    """No key has a value any more."""

    topic: str

    def build(self) -> bytes:
        return json.dumps({"t": self.topic, "clear": True})


@dataclass(frozen=True, slots=True)
class Live:
    """The client has everything that was published."""

    topic: str
    at: str | None = None

    def build(self) -> bytes:
        return json.dumps({"t": self.topic, "live": self.at})


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that do not come, before the next one of the topic."""

    topic: str
    missed: int | None
    reason: str

    def build(self) -> bytes:
        return json.dumps({"t": self.topic, "gap": {"missed": self.missed, "reason": self.reason}})


@dataclass(frozen=True, slots=True)
class Presence:
    """Who listens to a topic: first all of them, then who has come and who has gone."""

    topic: str
    count: int
    members: tuple[dict[str, Any], ...] | None = None
    join: tuple[dict[str, Any], ...] = ()
    leave: tuple[str, ...] = ()

    def build(self) -> bytes:
        said: dict[str, Any] = {"count": self.count}
        if self.members is not None:
            said["list"] = self.members
        if self.join:
            said["join"] = self.join
        if self.leave:
            said["leave"] = self.leave
        return json.dumps({"t": self.topic, "presence": said})


@dataclass(frozen=True, slots=True)
class End:
    """Nothing of the topic follows."""

    topic: str
    #: ``"unsub"``, ``"revoked"`` or ``"expired"``.
    reason: str = "unsub"

    def build(self) -> bytes:
        return json.dumps({"t": self.topic, "end": self.reason})


@dataclass(frozen=True, slots=True)
class Ack:
    """What a client has published is out."""

    id: str | int | None
    #: The position behind it; None where the topic keeps nothing.
    at: str | None = None
    #: True: it had been published before, and was not again.
    duplicate: bool = False

    def build(self) -> bytes:
        return json.dumps({"id": self.id, "ack": {"at": self.at, "dup": self.duplicate}})


@dataclass(frozen=True, slots=True)
class Error:
    """A command that was not obeyed; all else is as before."""

    code: str
    reason: str = ""
    id: str | int | None = None
    topic: str | None = None
    #: Milliseconds after which it may be tried again; None where nobody knows.
    retry_ms: int | None = None

    def build(self) -> bytes:
        said: dict[str, Any] = {}
        if self.id is not None:
            said["id"] = self.id
        if self.topic is not None:
            said["t"] = self.topic
        error: dict[str, Any] = {"code": self.code, "reason": self.reason}
        if self.retry_ms is not None:
            error["retry_ms"] = self.retry_ms
        said["error"] = error
        return json.dumps(said)


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing, after a silence: the connection lives."""

    def build(self) -> bytes:
        return b"{}"


ServerMessage = (
    Hello | Sync | Snapshot | Data | Changes | Clear | Live | Gap | Presence | End | Ack | Error | Beat
)


def parse_message(text: str) -> ServerMessage | None:
    """Return what the server says; None for a message of a later version of the protocol.

    Raises:
        ValueError: It is no JSON object, or one that a server never sends.
    """
    given = loads(text)
    if not isinstance(given, dict):
        raise ValueError(f"a message of a feed is a JSON object, not {text[:80]!r}")
    if not given:
        return Beat()
    try:
        return _parse(given)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message of a feed: {text[:80]!r}") from error


def _parse(given: dict[str, Any]) -> ServerMessage | None:
    if "hello" in given:
        said = given["hello"]
        return Hello(said["id"], said.get("user"), said.get("ping", 10), said.get("expires"), said["v"])
    if "error" in given:
        said = given["error"]
        found = given.get("id"), given.get("t"), said.get("retry_ms")
        return Error(said["code"], said.get("reason", ""), *found)
    if "ack" in given:
        return Ack(given["id"], given["ack"].get("at"), given["ack"].get("dup", False))
    if "t" not in given:
        return None
    return _parse_of_topic(given["t"], given)


def _parse_of_topic(topic: str, given: dict[str, Any]) -> ServerMessage | None:
    if "d" in given:
        return Data(topic, given["d"], given.get("at"), given.get("u"))
    if "set" in given or "rm" in given:
        return Changes(topic, given.get("set", {}), tuple(given.get("rm", ())))
    if "b" in given:
        return Data(topic, base64.b64decode(given["b"]), given.get("at"), given.get("u"))
    if "sync" in given:
        said = given["sync"]
        names = ("at", "resumed", "missed", "reason", "snapshot", "lossy")
        return Sync(topic, **{name: said[name] for name in names if name in said})
    if "gap" in given:
        return Gap(topic, given["gap"]["missed"], given["gap"]["reason"])
    if "presence" in given:
        said = given["presence"]
        listed = None if said.get("list") is None else tuple(said["list"])
        return Presence(
            topic, said["count"], listed, tuple(said.get("join", ())), tuple(said.get("leave", ()))
        )
    if "snap" in given:
        return Snapshot(topic, given["snap"])
    if "live" in given:
        return Live(topic, given["live"])
    if "end" in given:
        return End(topic, given["end"])
    return Clear(topic) if "clear" in given else None
