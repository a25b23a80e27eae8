"""Header fields: one multi-mapping for requests and responses, and the lists inside of values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["HeaderPairs", "Headers", "is_token", "is_value", "raw_fields"]

HeaderPairs = Iterable[tuple[str, str] | tuple[bytes, bytes]]

# RFC 9110, section 5.1: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5, without the control characters that a lenient reader lets through.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# One line of a head that the gate has accepted, which is why so little has to be asked of it here.
_FIELD = re.compile(r"\n([^:]++):[ \t]*+([^\r]*+)")
_RAW_FIELD = re.compile(rb"\n([^:]++):[ \t]*+([^\r]*+)")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class Headers:
    """An immutable multi-mapping of header fields; names in any case, values as latin-1 text.

    ``get`` and ``[]`` give the first value of a name, ``get_list`` all of them in order.
    Iteration and ``items()`` give lower-cased names in the order of arrival, repeats included.
    """

    __slots__ = ("_first", "_pairs")

    def __init__(self, pairs: HeaderPairs = ()) -> None:
        self._pairs = [(_text(name).lower(), _text(value)) for name, value in pairs]
        self._first = dict(reversed(self._pairs))

    @classmethod
    def parse(cls, head: bytes) -> Headers:
        """Take the fields out of a whole message head that has passed the gate."""
        headers = cls.__new__(cls)
        text = head.decode("latin-1")
        # White space around a value is no part of it (RFC 9110, section 5.5).
        pairs = [(name.lower(), value) for name, value in _FIELD.findall(text)]
        if " \r" in text or "\t\r" in text:
            pairs = [(name, value.rstrip(" \t")) for name, value in pairs]
        headers._pairs = pairs
        # The first of a repeated name wins, so it is entered last.
        headers._first = dict(reversed(pairs))
        return headers

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of ``name``, in any case; ``default`` (None) when there is none."""
        value = self._first.get(name)
        return self._first.get(name.lower(), default) if value is None else value

    def get_list(self, name: str) -> list[str]:
        """Return all values of ``name``, in the order in which they came."""
        name = name.lower()
        value = self._first.get(name)
        if value is None:
            return []
        if len(self._first) == len(self._pairs):
            return [value]
        return [value for key, value in self._pairs if key == name]

    def tokens(self, name: str) -> list[str]:
        """The members of a comma-separated list over all fields of that name, lower-cased."""
        text = ",".join(self.get_list(name)).lower()
        if "," not in text:
            return [text] if text else []
        return [token for part in text.split(",") if (token := part.strip(" \t"))]

    def items(self) -> list[tuple[str, str]]:
        """Return lower-cased names and values in the order in which they came, repeats included."""
        return list(self._pairs)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Lower-cased names and values as bytes, as ASGI wants them."""
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._pairs]

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._first

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


def raw_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a whole message head that has passed the gate, just as they came."""
    fields = _RAW_FIELD.findall(head)
    if b" \r" in head or b"\t\r" in head:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether the text may stand in a field: latin-1, no CR, LF, NUL or other control character."""
    return _VALUE.fullmatch(text) is not None
