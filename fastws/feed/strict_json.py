"""JSON objects read strictly: the members of one, each with the text it has in the source.

What clients publish is relayed as its source text, so that no number changes on the way: JSON's integers have
no limit (RFC 8259, section 6), but most parsers make a double of 2**64. So the text must be such that every
receiver reads the same: valid, not too deep, with each name once (section 4), and Unicode (section 8.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

from fastws import json

__all__ = ["MAX_DEPTH", "BadJSON", "Member", "loads", "members", "objects"]

#: Arrays and objects within each other, the command's own object among them.
MAX_DEPTH = 64

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[\[\]{}]")
_SPACE = re.compile(r"[ \t\n\r]*")
#: Digits that may be too many for a double, and for orjson, which makes one of them.
_LONG_NUMBER = re.compile(r"[0-9]{19}")


class BadJSON(ValueError):
    """The text is no JSON object that is relayed; the message says why."""

    #: Of several objects the one that is none, counted from 0; None where it is the text as a whole.
    index: int | None = None


class Member(NamedTuple):
    """The value of one member, and its text."""

    value: Any
    #: None: it is the text that we write for the value.
    text: str | None

    @property
    def source(self) -> str:
        return json.dumps(self.value).decode() if self.text is None else self.text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJSON("a name stands twice in an object")
    return found


_DECODER = JSONDecoder(object_pairs_hook=_once)


def members(text: str) -> dict[str, Member]:
    """Return the members of the JSON object that ``text`` is. Raises :class:`BadJSON`."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise BadJSON(f"not JSON: {error}"[:100]) from None
    if not isinstance(parsed, dict):
        raise BadJSON("not a JSON object")
    _check_depth(text)
    if json.dumps(parsed) == text.encode():
        # As a browser most often writes it: no name stands twice, and each value has the text that we write.
        return {name: Member(value, None) for name, value in parsed.items()}
    try:
        return _members(text, text.index("{"))[0]
    except (ValueError, RecursionError) as error:
        raise _bad(error) from None


def objects(text: str, most: int) -> Iterator[dict[str, Member]]:
    """Return the members of each object of the JSON array that ``text`` is, one after the other.

    The object alone may stand for an array of one. Raises :class:`BadJSON`, also for more than ``most``.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise BadJSON(f"not JSON: {error}"[:100]) from None
    if isinstance(parsed, dict):
        yield members(text)
        return
    if not isinstance(parsed, list):
        raise BadJSON("neither a JSON object nor an array of objects")
    if len(parsed) > most:
        raise BadJSON(f"{len(parsed)} objects, which is more than {most}")
    is_shallow = text.count("[") + text.count("{") <= MAX_DEPTH
    at = text.index("[")
    for index, each in enumerate(parsed):
        begin = _after_space(text, at + 1)
        try:
            if not isinstance(each, dict):
                raise BadJSON("not a JSON object")
            found, at = _members(text, begin)
            if not is_shallow:
                _check_depth(text[begin:at])
        except (ValueError, RecursionError) as error:
            bad = _bad(error)
            bad.index = index
            raise bad from None
        at = _after_space(text, at)  # a comma, or the end
        yield found


def _bad(error: Exception) -> BadJSON:
    """Return what to say of text that is JSON by one parser, and not by another."""
    if isinstance(error, BadJSON):
        return error
    is_syntax = isinstance(error, (JSONDecodeError, RecursionError))
    return BadJSON("not JSON" if is_syntax else "a number with too many digits")


def _members(text: str, at: int) -> tuple[dict[str, Member], int]:
    found: dict[str, Member] = {}
    at = _after_space(text, at + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # the colon
        value, end = _DECODER.raw_decode(text, at)
        if name in found:
            raise BadJSON(f"the name {name[:40]!r} stands twice")
        found[name] = Member(value, text[at:end])
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found, at + 1


def _after_space(text: str, at: int) -> int:
    space: Any = _SPACE.match(text, at)
    end: int = space.end()
    return end


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise BadJSON(f"more than {MAX_DEPTH} arrays and objects within each other")


def loads(text: str) -> Any:
    """Return the value of JSON text, integers as they are. Raises ``ValueError``."""
    if _LONG_NUMBER.search(text) is None:
        return json.loads(text)
    json.loads(text)  # checks what Python's own parser takes: NaN, lone surrogates
    return _PLAIN_DECODER.decode(text)


_PLAIN_DECODER = JSONDecoder()
