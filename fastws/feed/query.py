"""The topics that the URL of a feed names, and where that URL is in a request of any framework."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from fastws.feed.commands import Sub
from fastws.feed.protocol import MAX_RECENT

__all__ = ["query_of", "topics_of"]

MAX_FIELDS = 1000
#: A number as JSON has it.
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def topics_of(query: str) -> list[Sub]:
    """Return what ``?topic=a&since=AT&topic=b&since=&recent=10&rate=5`` asks for.

    The n-th ``since`` is for the n-th ``topic``, and so are ``recent`` and ``rate`` where there are several:
    one alone is for all topics.

    Raises:
        ValueError: A number is none, a name is not UTF-8, there are more positions than topics, or more
            than 1,000 fields.
    """
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the URL is not UTF-8") from None
    topics = fields.get("topic", [])
    since = fields.get("since", [])
    if len(since) > len(topics):
        raise ValueError("more since= than topic= in the URL")
    recent = _for_each("recent", fields.get("recent", []), len(topics))
    rate = _for_each("rate", fields.get("rate", []), len(topics))
    return [
        Sub(
            topic,
            since[index] or None if index < len(since) else None,
            _whole(recent[index]),
            _more_than_nothing(rate[index]),
        )
        for index, topic in enumerate(topics)
    ]


def _for_each(name: str, given: list[str], topics: int) -> list[str]:
    if len(given) > max(topics, 1):
        raise ValueError(f"more {name}= than topic= in the URL")
    return given * topics if len(given) == 1 else given + [""] * (topics - len(given))


def _whole(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_RECENT))):
        raise ValueError(f"recent= in the URL is an integer from 0 to {MAX_RECENT}")
    return int(text)


def _more_than_nothing(text: str) -> float | None:
    if not text:
        return None
    number = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < number < float("inf"):
        raise ValueError("rate= in the URL is a number of more than 0")
    return number


def query_of(request: Any) -> str:
    """Return the query of the URL, as it came, of the request of any framework."""
    scope = getattr(request, "scope", None)
    if isinstance(scope, dict) and "query_string" in scope:
        query: bytes = scope["query_string"]
        return query.decode("latin-1")
    for name in ("query", "query_string"):
        found = getattr(request, name, None)
        if isinstance(found, str):
            return found
    return str(getattr(request, "path", "")).partition("?")[2]
