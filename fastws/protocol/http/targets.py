"""The target of a request: its path and its query (RFC 9112, section 3.2)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

__all__ = ["decode_path", "split_target"]

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# RFC 9112, section 3.2.2: a client that speaks to a proxy sends a whole URL.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?]*")


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request target, both still percent-encoded (RFC 9112, section 3.2)."""
    path, _, query = target.partition("?")
    if path[:1] != "/" and (absolute := _ABSOLUTE.match(target)):
        path = path[absolute.end() :] or "/"
    return path, query


def decode_path(target: str) -> str:
    """Return the path of a target as text.

    Raises ``ValueError`` for NUL, for a bad percent-encoding, and for bytes that are not UTF-8.
    """
    path = split_target(target)[0]
    if "%" not in path:
        return path
    if _BAD_ESCAPE.search(path) or "%00" in path:
        raise ValueError("the path holds a NUL or a bad percent-encoding")
    return unquote_to_bytes(path).decode()
