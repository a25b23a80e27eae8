"""Which topics a pattern names, and which names a topic with a history may have."""

from __future__ import annotations

import re
from itertools import zip_longest

__all__ = ["Pattern", "check_name"]

MAX_NAME_BYTES = 255
ONE, REST = "*", "**"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_name(name: str) -> None:
    """Raise ``ValueError`` for a name that no topic with a history may have.

    Names travel in URLs, and to brokers: at most 255 bytes of UTF-8, printable as one line, in segments
    between slashes, none of which is empty, ``.`` or ``..``; no ``*``.
    """
    wrong = _what_is_wrong(name)
    if wrong is not None:
        raise ValueError(f"{name[:80]!r} cannot be the name of a topic: {wrong}")


def _what_is_wrong(name: str) -> str | None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is no Unicode text"
    if not size:
        return "it is empty"
    if size > MAX_NAME_BYTES:
        return f"it has {size} bytes, which is more than {MAX_NAME_BYTES}"
    if _CONTROL.search(name) is not None:
        return "it has a control character"
    if ONE in name:
        return "it has a *"
    for segment in name.split("/"):
        if segment in ("", ".", ".."):
            return f"it has the segment {segment!r} between slashes"
    return None


class Pattern:
    """The name of one topic, or a name with segments ``*`` (any one) and at its end ``**`` (one or more).

    Raises:
        ValueError: ``**`` is not the last segment, or a segment has a ``*`` and more.
    """

    __slots__ = ("_segments", "prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._segments = segments = text.split("/")
        for index, segment in enumerate(segments):
            if ONE in segment and segment not in (ONE, REST):
                raise ValueError(f"pattern {text!r}: a segment is * or ** as a whole, not {segment!r}")
            if segment == REST and index != len(segments) - 1:
                raise ValueError(f"pattern {text!r}: ** stands at the end only")
        #: How many segments stand before the first one that is no name.
        self.prefix = next(
            (index for index, segment in enumerate(segments) if segment in (ONE, REST)), len(segments)
        )

    @property
    def is_exact(self) -> bool:
        """True for the name of one topic."""
        return self.prefix == len(self._segments)

    def check_names(self) -> None:
        """Raise ``ValueError`` where no name of a topic with a history can fit."""
        check_name("/".join("any" if segment in (ONE, REST) else segment for segment in self._segments))

    def fits(self, name: str) -> bool:
        """True when ``name`` is one of those that are meant."""
        return _overlap(self._segments, name.split("/"))

    def overlaps(self, other: Pattern) -> bool:
        """True when a name can fit both."""
        return _overlap(self._segments, other._segments)


def _overlap(one: list[str], two: list[str]) -> bool:
    for left, right in zip_longest(one, two):
        if left is None or right is None:
            return False
        if REST in (left, right):
            return True
        if left != right and ONE not in (left, right):
            return False
    return True
