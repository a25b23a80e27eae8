"""JSON by orjson, imported when it is first used.

The import takes 5 ms, a tenth of the time of the whole package, and many programs need no JSON.
"""

from __future__ import annotations

from typing import Any

__all__ = ["checked_source", "dumps", "finite_dumps", "finite_text", "loads"]

_orjson: Any = None


def dumps(value: Any) -> bytes:
    """Return ``value`` as JSON. Raises ``TypeError`` (``orjson.JSONEncodeError``) for other types."""
    data: bytes = (_orjson or _imported()).dumps(value)
    return data


def finite_dumps(value: Any) -> bytes:
    """Return a value of the application as JSON, in which nothing became another value on the way.

    orjson writes ``null`` for a float that JSON has not.

    Raises:
        TypeError: As :func:`dumps`.
        ValueError: There is a NaN or an infinity in it.
    """
    return finite_text(value).encode()


def finite_text(value: Any) -> str:
    """Return what :func:`finite_dumps` does as text. Raises as that."""
    text: str = (_orjson or _imported()).dumps(value).decode()
    if "null" in text:  # of bytes `in` would look for a number first, and make an exception
        _check_finite(value)
    return text


def _check_finite(value: Any) -> None:
    import json  # only here, and below: most values have no null

    try:
        json.dumps(value, allow_nan=False, default=_opened)
    except ValueError as error:
        raise ValueError(f"JSON has no NaN and no infinity: {error}") from None


def _opened(value: Any) -> Any:
    """Return what is in a value of which the standard library knows nothing, and orjson does."""
    import dataclasses
    import enum

    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text. Raises ``ValueError`` (``orjson.JSONDecodeError``) for other text."""
    return (_orjson or _imported()).loads(text)


def checked_source(text: str) -> bytes:
    """Return the source text of a JSON value as it is, without white space around it.

    For values that others shall get exactly as they were written: 2**64 would become another number here.

    Raises:
        ValueError: It is not the text of one JSON value, or nested deeper than about a thousand levels.
        TypeError: It is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"JSON source text is str, not {type(text).__name__}")
    try:
        source = text.strip(" \t\r\n").encode()
    except UnicodeEncodeError:
        raise ValueError("no JSON: it has half of a surrogate pair") from None
    # Two levels deeper than it is, as it will be inside of what it travels in: who reads that with the same
    # limit can read it. Text that closes these brackets itself, such as "1],[2", makes longer lists.
    try:
        found = loads(b"[[%b]]" % source)
    except ValueError as error:
        raise ValueError(f"no JSON: {_reason(error)}") from None
    if len(found) != 1 or len(found[0]) != 1:
        raise ValueError("no JSON: it has to be one value")
    return source


def _reason(error: ValueError) -> str:
    """Say what is wrong without a place, which would be that of the text around."""
    return str(error).partition(":")[0]


def _imported() -> Any:
    global _orjson
    import orjson

    _orjson = orjson
    return orjson
