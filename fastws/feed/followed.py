"""What a client of feeds knows of one topic: where it is, and what the server's messages mean. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastws.feed import messages
from fastws.feed.commands import Sub
from fastws.pubsub.events import (
    Ended,
    Event,
    Gap,
    Live,
    Member,
    Message,
    Position,
    Presence,
    Published,
    Removed,
    Synced,
)

__all__ = ["FollowedTopic", "published_by"]


class FollowedTopic:
    """One topic that a client follows."""

    __slots__ = ("at", "command", "ends", "name", "rate", "recent")

    def __init__(self, name: str, since: Position | None, recent: int | None, rate: float | None) -> None:
        self.name = name
        #: Where to go on after a reconnect. None while a snapshot is not complete: nothing less would do.
        self.at = since
        self.recent = recent
        self.rate = rate
        #: The id of the command that listens on this connection.
        self.command: int | None = None
        #: How often it was left and the server has not said so yet. Until then it speaks of what was before.
        self.ends = 0

    def subscribe(self, command: int) -> str:
        """Return the command that listens from here on, and remember its id."""
        self.command = command
        since = None if self.at is None else str(self.at)
        return Sub(self.name, since, self.recent, self.rate, command).build()

    def is_elsewhere(self, message: object) -> bool:
        """Whether the server begins by itself, from now on, and not where this client is."""
        return isinstance(message, messages.Sync) and message.resumed is None and self.at is not None

    def events(self, message: messages.ServerMessage | None) -> Iterator[Event]:
        """Take a message of the server about this topic; give what it means.

        Raises:
            ValueError: It has a position that is none.
        """
        match message:
            case messages.Data():
                self.at = _position(message.at)
                yield Message(self.name, message.value, self.at, user=message.user)
            case messages.Changes():
                yield from self._values(message.values)
                for key in message.removed:
                    yield Removed(self.name, key, None)
            case messages.Snapshot():
                yield from self._values(message.values)
            case messages.Clear():
                yield Removed(self.name, None, None)
            case messages.Live():
                self.at = _position(message.at)
                yield Live(self.name, self.at)
            case messages.Sync():
                yield self._synced(message)
            case messages.Gap():
                yield Gap(self.name, message.missed, message.reason)
            case messages.Presence():
                listed = None if message.members is None else _members(message.members)
                joined, left = _members(message.join), tuple(message.leave)
                yield Presence(self.name, message.count, listed, joined, left)
            case messages.End():
                yield Ended(self.name, message.reason)

    def _values(self, values: dict[str, Any]) -> Iterator[Event]:
        for key, value in values.items():
            yield Message(self.name, value, None, key)

    def _synced(self, sync: messages.Sync) -> Synced:
        at = _position(sync.at)
        if sync.snapshot:
            self.at = None
        elif not sync.resumed:
            self.at = at
        return Synced(self.name, at, sync.resumed, sync.missed, sync.reason, sync.snapshot)


def published_by(ack: messages.Ack) -> Published:
    """Return what became of a message that was published."""
    return Published(_position(ack.at), ack.duplicate)


def _members(said: tuple[dict[str, Any], ...]) -> tuple[Member, ...]:
    return tuple(Member(each["id"], each.get("n", 1), each.get("info")) for each in said)


def _position(text: str | None) -> Any:
    """Return the position that a text says; None for none."""
    return None if text is None else Position.parse(text)
