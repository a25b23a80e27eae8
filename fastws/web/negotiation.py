"""What a client accepts, already has, or wants a part of: RFC 9110, sections 12.5.3, 13.1 and 14.

Pure functions of field values. Each takes time linear in the value, and raises nothing for what a stranger
wrote: a field that breaks its grammar counts as not sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["entity_tag_matches", "preferred_codings", "requested_range"]

# Section 12.4.2. Nothing but ASCII digits: int() and \d know the digits of every script.
_WEIGHT = re.compile(r"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")
# Section 8.8.3. The marker of a weak tag is left out: see entity_tag_matches.
_OPAQUE_TAG = re.compile(r'"[^"]*"')
# Section 14.1.2: one range alone. More than 19 digits are no file offset.
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.ASCII | re.IGNORECASE)


def preferred_codings(accept_encoding: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return those of ``known`` that the client accepts, best first; equal weights keep their order.

    ``accept_encoding`` holds the values of all fields of that name. A coding that the client ranks below
    ``identity`` is left out. Empty means: send the bytes as they are.
    """
    weights: dict[str, float] = {}
    for member in ",".join(accept_encoding).split(","):
        name, semicolon, parameter = member.partition(";")
        weight = _WEIGHT.fullmatch(parameter) if semicolon else None
        accepted = float(weight[1]) if weight else float(not semicolon)
        weights[name.strip(" \t").lower()] = accepted
    others = weights.get("*", 0.0)
    identity = weights.get("identity", 0.0)
    ranked = sorted(((weights.get(coding, others), coding) for coding in known), key=lambda pair: -pair[0])
    return [coding for weight, coding in ranked if weight > 0 and weight >= identity]


def entity_tag_matches(if_none_match: Iterable[str], etag: str) -> bool:
    """True when ``etag`` is among the tags of If-None-Match, compared weakly (section 8.8.3.2).

    A proxy that compresses turns our strong tags into weak ones.
    """
    listed = ",".join(if_none_match)
    return listed.strip(" \t") == "*" or etag in _OPAQUE_TAG.findall(listed)


def requested_range(field: str, size: int) -> range | None:
    """Return the part of a representation of ``size`` bytes that a Range field asks for.

    None: send the whole. That is the answer to another unit, to a field that breaks the grammar, and to
    several ranges at once: section 14.2 allows it, and many small or overlapping ranges would cost much
    work. An empty range: answer 416 (section 15.5.17).
    """
    match = _RANGE.fullmatch(field)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)
