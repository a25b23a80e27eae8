"""JSON by orjson, which takes 5 ms to import: a tenth of all of this package, and many need none of it.

So it is imported when the first JSON is read or written.
"""

from __future__ import annotations

from typing import Any

__all__ = ["dumps", "loads"]

_orjson: Any = None


def dumps(value: Any) -> bytes:
    """``orjson.dumps``. Raises ``TypeError`` (``orjson.JSONEncodeError``)."""
    data: bytes = (_orjson or _imported()).dumps(value)
    return data


def loads(text: str | bytes) -> Any:
    """``orjson.loads``. Raises ``ValueError`` (``orjson.JSONDecodeError``)."""
    return (_orjson or _imported()).loads(text)


def _imported() -> Any:
    global _orjson
    import orjson

    _orjson = orjson
    return orjson
