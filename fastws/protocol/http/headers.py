"""Header fields of requests and responses, as one immutable multi-mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["HeaderPairs", "Headers", "checked_field", "cookies_of", "is_token", "is_value", "raw_fields"]

HeaderPairs = Iterable[tuple[str, str] | tuple[bytes, bytes]]

# RFC 9110, section 5.1: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5, without the control characters that a lenient reader lets through.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# One line of a head that strict_head.py has checked, so that nothing has to be checked here again.
_FIELD = re.compile(r"\n([^:]++):[ \t]*+([^\r]*+)")
_RAW_FIELD = re.compile(rb"\n([^:]++):[ \t]*+([^\r]*+)")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class Headers:
    """The header fields of a message (RFC 9110, section 5), an immutable multi-mapping.

    A name may be given in any case. Values are text, decoded as latin-1. ``headers[name]`` is the first
    value of that name, and raises ``KeyError`` without one. Iteration gives the names in lower case, in the
    order in which the fields came, repeated names included. May be shared by threads.

    Args:
        pairs: names and values, all ``str`` or all ``bytes``. They are not checked: ``Response`` checks
            what goes on the wire.
    """

    __slots__ = ("_first", "_pairs")

    def __init__(self, pairs: HeaderPairs = ()) -> None:
        self._pairs = [(_text(name).lower(), _text(value)) for name, value in pairs]
        self._first = dict(reversed(self._pairs))

    @classmethod
    def parse(cls, head: bytes) -> Headers:
        """Return the fields of a whole head of a message, which strict_head.py has checked."""
        headers = cls.__new__(cls)
        text = head.decode("latin-1")
        # RFC 9110, section 5.5: white space around a value is no part of it.
        pairs = [(name.lower(), value) for name, value in _FIELD.findall(text)]
        if " \r" in text or "\t\r" in text:
            pairs = [(name, value.rstrip(" \t")) for name, value in pairs]
        headers._pairs = pairs
        # A dict keeps the last value of a repeated name, and the first is wanted.
        headers._first = dict(reversed(pairs))
        return headers

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of ``name``, or ``default`` when no field has that name."""
        value = self._first.get(name)
        return self._first.get(name.lower(), default) if value is None else value

    def get_list(self, name: str) -> list[str]:
        """Return all values of ``name`` in the order in which they came; without any an empty list."""
        name = name.lower()
        value = self._first.get(name)
        if value is None:
            return []
        if len(self._first) == len(self._pairs):
            return [value]
        return [value for key, value in self._pairs if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return the members of a comma-separated list over all fields of ``name``, in lower case.

        Empty members do not count (RFC 9110, section 5.6.1).
        """
        text = ",".join(self.get_list(name)).lower()
        if "," not in text:
            return [text] if text else []
        return [token for part in text.split(",") if (token := part.strip(" \t"))]

    def items(self) -> list[tuple[str, str]]:
        """Return names, in lower case, and values in the order in which they came, repeats included."""
        return list(self._pairs)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Names, in lower case, and values as bytes, as ASGI wants them."""
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
    """Return the fields of a whole head, which strict_head.py has checked, with names in their own case."""
    fields = _RAW_FIELD.findall(head)
    if b" \r" in head or b"\t\r" in head:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def is_token(text: str) -> bool:
    """Return whether the text is a token (RFC 9110, section 5.6.2), as the name of a field must be."""
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Return whether the text may be a value: latin-1 without CR, LF, NUL and other control characters."""
    return _VALUE.fullmatch(text) is not None


def checked_field(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    """Return a header field ready to be sent. Raises ``ValueError`` for one that would break the message."""
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    if not is_token(name):
        raise ValueError(f"{name!r} cannot be a header name")
    if not is_value(value):
        raise ValueError(f"{value!r} cannot be the value of {name}")
    return name.encode("latin-1"), value.encode("latin-1")


def cookies_of(headers: Headers) -> dict[str, str]:
    """Return the cookies (RFC 6265, section 4.2), the first of each name. A part without ``=`` is ignored."""
    cookies: dict[str, str] = {}
    for pair in "; ".join(headers.get_list("cookie")).split(";"):
        name, equals, value = pair.partition("=")
        if equals and (name := name.strip(" \t")):
            cookies.setdefault(name, value.strip(" \t").strip('"'))
    return cookies
