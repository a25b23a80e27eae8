"""Classes of topics: what an application declares for one name, or for all that fit a pattern."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastws.config import SlowConsumerPolicy, check_number
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.pubsub.patterns import Pattern

__all__ = [
    "MAX_KEYS",
    "PresenceMode",
    "TopicClass",
    "TopicClasses",
    "TopicMode",
    "check_history",
    "check_keyed",
    "check_unkeyed",
    "checked_every",
    "checked_presence",
]

#: Seconds in which the changes of a keyed topic are collected, where nothing else is said.
KEYED_EVERY = 0.025
#: How many keys a keyed topic may have, where nothing else is said.
MAX_KEYS = 10_000


class TopicMode(StrEnum):
    """What a topic's messages are."""

    #: Messages, one after the other.
    STREAM = "stream"
    #: Values of keys: a new one takes the place of the one before.
    KEYED = "keyed"


class PresenceMode(StrEnum):
    """What a topic's clients are told of who is here."""

    #: How many.
    COUNT = "count"
    #: Who.
    LIST = "list"


@dataclass(frozen=True, slots=True)
class TopicClass:
    """The settings of the topics that fit a pattern; :meth:`fastws.Hub.topic` says what each means."""

    pattern: Pattern
    mode: TopicMode
    history: int
    ttl: float
    history_bytes: int
    max_keys: int
    #: Infinite: values do not expire.
    key_ttl: float
    #: None: what a turn has published leaves at its end.
    every: float | None
    max_rate: float | None
    #: None: everything is let through. With it, what ``keep`` is True for passes in any case.
    sample: float | None
    keep: Callable[[str | bytes], bool] | None
    merge: str | None
    policy: SlowConsumerPolicy | None
    #: None: messages are not compressed.
    deflate: DeflatePool | None
    #: None: nothing.
    presence: PresenceMode | None = None
    #: How many of the last messages a client begins with that says nothing else.
    recent: int = 0

    @property
    def is_numbered(self) -> bool:
        """True where messages or changes have positions."""
        return self.history > 0 or self.mode is TopicMode.KEYED

    @property
    def has_gate(self) -> bool:
        """True where messages are collected or left out, or subscriptions have a pace."""
        collects = self.every is not None and self.mode is TopicMode.STREAM
        return collects or self.max_rate is not None or self.sample is not None


class TopicClasses:
    """The classes of one hub."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self) -> None:
        self._exact: dict[str, TopicClass] = {}
        #: The longest prefix first.
        self._patterns: list[TopicClass] = []

    def has(self, name: str) -> bool:
        """True when this one topic was declared."""
        return name in self._exact

    def check_new(self, pattern: Pattern) -> None:
        """Raise ``ValueError`` where nobody could say which class a topic would belong to."""
        if pattern.is_exact:
            if pattern.text in self._exact:
                raise ValueError(f"topic {pattern.text!r} exists already")
            return
        for known in self._patterns:
            other = known.pattern
            if other.text == pattern.text:
                raise ValueError(f"pattern {pattern.text!r} exists already")
            if other.prefix == pattern.prefix and other.overlaps(pattern):
                raise ValueError(
                    f"patterns {other.text!r} and {pattern.text!r} tie: a topic may fit both, "
                    "and neither has more segments before its first *"
                )

    def add(self, made: TopicClass) -> None:
        """Add a class whose pattern was checked."""
        if made.pattern.is_exact:
            self._exact[made.pattern.text] = made
        else:
            self._patterns.append(made)
            self._patterns.sort(key=lambda each: -each.pattern.prefix)

    def find(self, name: str) -> TopicClass | None:
        """Return the class of a topic: its own, else that with the longest prefix; None where none fits."""
        found = self._exact.get(name)
        if found is None and isinstance(name, str):
            found = next((each for each in self._patterns if each.pattern.fits(name)), None)
        return found


def check_history(history: int, ttl: float, history_bytes: int, recent: int) -> None:
    """Raise ``TypeError`` and ``ValueError`` for arguments of :meth:`fastws.Hub.topic` that cannot be."""
    check_number("history", history, 0)
    check_number("recent", recent, 0)
    if recent and not history:
        raise ValueError("recent= is for a topic with history=: no other one has messages to begin with")
    check_number("history_bytes", history_bytes, 1)
    check_seconds("ttl", ttl)


def check_unkeyed(max_keys: int, key_ttl: float | None) -> None:
    """Raise ``ValueError`` where a topic without keys is told what only one with keys can be."""
    for name, is_given in (("max_keys", max_keys != MAX_KEYS), ("key_ttl", key_ttl is not None)):
        if is_given:
            raise ValueError(f"{name}= is for a topic with mode='keyed'")


def check_keyed(
    history: int,
    merge: str | None,
    policy: Any,
    sample: float | None,
    max_keys: int,
    key_ttl: float | None,
) -> None:
    """The same for those of a keyed topic."""
    check_number("max_keys", max_keys, 1)
    if key_ttl is not None:
        check_seconds("key_ttl", key_ttl)
    not_for_it = {"history": history or None, "merge": merge, "policy": policy, "sample": sample}
    for name, given in not_for_it.items():
        if given is not None:
            raise ValueError(
                f"{name}= is not for a keyed topic, which keeps the last value of each key and sends a slow "
                "client only that"
            )


def checked_every(every: float | None, mode: TopicMode) -> float | None:
    """Return how long a topic collects what is published."""
    if every is None:
        return KEYED_EVERY if mode is TopicMode.KEYED else None
    if isinstance(every, bool) or not isinstance(every, (int, float)):
        raise TypeError(f"every is a number of seconds, not {every!r}")
    if not 0 <= every < math.inf:
        raise ValueError(f"every is 0 seconds or more, not {every}")
    return float(every)


def checked_presence(presence: str | None) -> PresenceMode | None:
    """Return what clients are told of who is here."""
    if presence is None:
        return None
    if presence not in list(PresenceMode):
        raise ValueError(f"presence= is 'count' or 'list', not {presence!r}")
    return PresenceMode(presence)


def check_seconds(name: str, seconds: float) -> None:
    """Raise ``TypeError`` and ``ValueError`` for what is no time that something lasts."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not seconds > 0 or math.isnan(seconds):
        raise ValueError(f"{name} is more than 0 seconds, not {seconds}")
