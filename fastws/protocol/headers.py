"""Header fields: one multi-mapping for requests and responses, and the lists inside of values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["HeaderPairs", "Headers", "is_token", "is_value"]

HeaderPairs = Iterable[tuple[str, str] | tuple[bytes, bytes]]

# RFC 9110, section 5.1: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5, without the control characters that a lenient reader lets through.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# One line of a head that the gate has accepted; white space around the value is no part of it.
_FIELD = re.compile(r"\n([^:\r\n]++):[ \t]*+([^\r\n]*)")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class Headers:
    """An immutable multi-mapping of header fields; names in any case, values as latin-1 text.

    ``get`` and ``[]`` give the first value of a name, ``get_list`` all of them in order.
    Iteration and ``items()`` give lower-cased names in the order of arrival, repeats included.
    """

    __slots__ = ("_index", "_pairs")

    def __init__(self, pairs: HeaderPairs = ()) -> None:
        self._fill([(_text(name).lower(), _text(value)) for name, value in pairs])

    @classmethod
    def parse(cls, head: bytes) -> Headers:
        """Take the fields out of a whole message head that has passed the gate."""
        headers = cls.__new__(cls)
        lines = _FIELD.findall(head.decode("latin-1"))
        headers._fill([(name.lower(), value.rstrip(" \t")) for name, value in lines])
        return headers

    def _fill(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        index: dict[str, list[str]] = {}
        for name, value in pairs:
            if name in index:
                index[name].append(value)
            else:
                index[name] = [value]
        self._index = index

    def get(self, name: str, default: str | None = None) -> str | None:
        values = self._index.get(name) or self._index.get(name.lower())
        return values[0] if values else default

    def get_list(self, name: str) -> list[str]:
        return list(self._index.get(name.lower(), ()))

    def tokens(self, name: str) -> list[str]:
        """The members of a comma-separated list over all fields of that name, lower-cased."""
        values = self._index.get(name) or self._index.get(name.lower())
        if not values:
            return []
        if len(values) == 1 and "," not in values[0]:
            return [values[0].lower()]
        parts = ",".join(values).lower().split(",")
        return [part for part in map(_strip, parts) if part]

    def items(self) -> list[tuple[str, str]]:
        return list(self._pairs)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Lower-cased names and values as bytes, as ASGI wants them."""
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._pairs]

    def __getitem__(self, name: str) -> str:
        return self._index[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._index

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


def _strip(text: str) -> str:
    return text.strip(" \t")


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether the text may stand in a field: latin-1, no CR, LF, NUL or other control character."""
    return _VALUE.fullmatch(text) is not None
