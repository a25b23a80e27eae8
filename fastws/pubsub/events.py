"""Positions in a topic, and what is said about them: small values that cannot change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Ended",
    "Event",
    "Gap",
    "Live",
    "Member",
    "Message",
    "Position",
    "Presence",
    "Published",
    "Removed",
    "Synced",
]

#: Characters of a position's text: what is longer is none.
MAX_POSITION_CHARACTERS = 64
#: A double, which JavaScript has for numbers, holds integers up to this one exactly.
MAX_OFFSET = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a topic with a history, or in a keyed one: behind its message or change number ``offset``.

    ``str(position)`` is its text for clients, who send it back and compute nothing with it.
    """

    #: One life of the topic. A process that starts again, or that has forgotten a topic which nobody used,
    #: begins another one.
    epoch: str
    #: How many messages or changes of this epoch stand before it. A history has no holes: of N messages that
    #: a client has received since a position, the last one is at ``position.after(N)``. Of a keyed topic a
    #: client receives the last change of each key only: its ``live`` frames say where it is.
    offset: int

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"a position is behind 0 messages or more, not {self.offset}")

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that ``text`` says.

        Raises:
            ValueError: It says none: it is no ``epoch:offset`` of at most 64 characters.
            TypeError: It is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"a position is text, not {type(text).__name__}")
        epoch, _, offset = text.rpartition(":")
        if (
            len(text) > MAX_POSITION_CHARACTERS
            or not epoch
            or not (text.isascii() and text.isprintable())
            or not offset.isdigit()
            or int(offset) > MAX_OFFSET
        ):
            raise ValueError(f"not a position, which is EPOCH:OFFSET: {text[:80]!r}")
        return cls(epoch, int(offset))

    def after(self, messages: int) -> Position:
        """Return the position that many messages later.

        Raises:
            ValueError: It would be before the first message.
        """
        return Position(self.epoch, self.offset + messages)


@dataclass(frozen=True, slots=True)
class Synced:
    """Where a subscription to a topic with a history, or to a keyed one, begins, and what it has missed."""

    #: The topic's name.
    topic: str
    #: The message after this position is the first to come; with ``snapshot``, the change after it. From a
    #: feed None where the topic keeps nothing.
    at: Position
    #: True: every message since the position that was asked for is still here, and comes. False: not so, see
    #: ``reason``. None: no position was asked for.
    resumed: bool | None = None
    #: How many messages since then do not come; None where nobody can know.
    missed: int | None = 0
    #: None where nothing was missed. ``"expired"``: messages were older than the topic's ``ttl``.
    #: ``"limit"``: they were more than its ``history`` or ``history_bytes``. ``"epoch"``: the position is of
    #: another life of the topic, or of another topic. ``"future"``: nothing was published there yet.
    reason: str | None = None
    #: True where all keys of a keyed topic come, as they are at ``at``: forget what you hold of it.
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a topic with a history, or what a key of a keyed topic holds now."""

    #: The topic's name.
    topic: str
    #: Text, or bytes of a binary one. Of a keyed topic the source text of its JSON value. From a feed the
    #: value of JSON itself, or bytes.
    message: Any
    #: The position behind it: who has this message goes on there. A feed names none where the topic keeps
    #: nothing, nor for a key: then it is None.
    at: Position | None
    #: The key of a keyed topic whose value this is; None for a message of any other topic.
    key: str | None = None
    #: From a feed: who has published it, as the server knows; None for the application.
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """A key of a keyed topic that holds nothing any more, or all of them."""

    #: The topic's name.
    topic: str
    #: None: the topic was cleared.
    key: str | None
    #: The position behind this change; None from a feed.
    at: Position | None


@dataclass(frozen=True, slots=True)
class Live:
    """All that a keyed topic has published so far was brought: what was collected is its state now.

    It comes when that is so for the first time, and later again, at most once a second.
    """

    #: The topic's name.
    topic: str
    #: Where the topic is; None where it keeps nothing.
    at: Position | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic that do not come: after those before, and before its next one."""

    #: The topic's name.
    topic: str
    #: How many; None where nobody knows, which only a feed says.
    missed: int | None
    #: ``"slow"``: they were taken more slowly than the history forgot them. ``"bus"``: they were lost between
    #: processes. From a feed also ``"sampled"``: the topic lets some through; and ``"broker"``.
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of a topic comes any more."""

    #: The topic's name.
    topic: str
    #: ``"closed"``: the hub was closed. ``"unavailable"``: the broker refuses the topic. From a feed
    #: ``"revoked"`` or ``"expired"``: this client may follow it no more.
    reason: str


@dataclass(frozen=True, slots=True)
class Member:
    """A user who listens to a topic; or a name that :meth:`fastws.Hub.subscribe` shows."""

    #: The public id of the user.
    id: str
    #: How many connections of this user listen.
    connections: int = 1
    #: What the application shows of the user: a value of JSON.
    info: Any = None


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is here: who listens to a topic, by user. A feed tells all first, then who comes and who goes."""

    #: The topic's name.
    topic: str
    #: How many users.
    count: int
    #: All of them; None where only changes are told, or the number alone.
    members: tuple[Member, ...] | None = None
    #: Who has come since.
    joined: tuple[Member, ...] = ()
    #: The ids of who has gone since.
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a message that was published and confirmed."""

    #: The position behind it; from a feed None where the topic keeps nothing.
    at: Position
    #: True when a message with the same ``once`` had been published before, and this one was not.
    duplicate: bool = False


#: What a :class:`fastws.Follower` brings.
#: What a follower brings: one of these.
Event = Synced | Message | Removed | Live | Gap | Presence | Ended
