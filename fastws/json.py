"""JSON by orjson, imported when it is first used.

The import takes 5 ms, a tenth of the time of the whole package, and many programs need no JSON.
"""

from __future__ import annotations

from typing import Any

__all__ = ["dumps", "loads"]

_orjson: Any = None


def dumps(value: Any) -> bytes:
    """Return ``value`` as JSON. Raises ``TypeError`` (``orjson.JSONEncodeError``) for other types."""
    data: bytes = (_orjson or _imported()).dumps(value)
    return data


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text. Raises ``ValueError`` (``orjson.JSONDecodeError``) for other text."""
    return (_orjson or _imported()).loads(text)


def _imported() -> Any:
    global _orjson
    import orjson

    _orjson = orjson
    return orjson
