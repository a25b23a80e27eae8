"""Origins as a person writes them, and as browsers send them (RFC 6454, section 6.2)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["parse_origin", "parse_origins"]

DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(text: str) -> str:
    """Return ``scheme://host[:port]`` as a browser sends it; ``*`` and ``null`` stay as they are.

    Raises ``ValueError`` for what is no origin.
    """
    if text in ("*", "null"):
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an origin") from None
    beyond = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not parts.scheme or not parts.hostname or beyond:
        raise ValueError(f"{text!r} is not an origin; write scheme://host[:port], or * for all")
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    # Browsers leave the default port out, and origins are compared as browsers send them.
    return origin.removesuffix(f":{port}") if port == DEFAULT_PORTS.get(parts.scheme) else origin


def parse_origins(given: Iterable[str]) -> frozenset[str]:
    """Return what ``origins=`` allows.

    Raises ``TypeError`` for a ``str``, whose letters would be taken for origins, and as :func:`parse_origin`.
    """
    if isinstance(given, str):
        raise TypeError(f"origins= is a list of origins: [{given!r}]")
    return frozenset(parse_origin(origin) for origin in given)
