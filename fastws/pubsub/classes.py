"""Classes of topics: what an application declares for one name, or for all that fit a pattern."""

from __future__ import annotations

from dataclasses import dataclass

from fastws.config import SlowConsumerPolicy
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.pubsub.patterns import Pattern

__all__ = ["TopicClass", "TopicClasses"]


@dataclass(frozen=True, slots=True)
class TopicClass:
    """The settings of the topics that fit a pattern; :meth:`fastws.Hub.topic` says what each means."""

    pattern: Pattern
    history: int
    ttl: float
    history_bytes: int
    merge: str | None
    policy: SlowConsumerPolicy | None
    #: None: messages are not compressed.
    deflate: DeflatePool | None


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
