"""Origins as a person writes them, and as browsers send them (RFC 6454, section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

__all__ = ["parse_origin", "parse_origins"]

DEFAULT_PORTS = {"http": 80, "https": 443}
#: A host in the form in which browsers send it: a name, in ASCII, or an address.
HOST = re.compile(r"[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]")
#: The end of a host that browsers read as an address of IPv4 (URL standard, section 3.5, "ends in a number").
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[Xx][0-9A-Fa-f]*)\.?")


def parse_origin(text: str) -> str:
    """Return ``scheme://host[:port]`` as a browser sends it; ``*`` and ``null`` stay as they are.

    ``scheme://*.host[:port]`` stands for all subdomains of the host, at any depth, and not for the host.

    Raises ``ValueError`` for what is no origin, and for what no origin could ever match.
    """
    if text in ("*", "null"):
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an origin") from None
    if parts.scheme in ("ws", "wss"):
        raise ValueError(f"{text!r} matches no origin: a page has http:// or https://, its WebSocket too")
    beyond = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if not parts.scheme or not parts.hostname or beyond or text != text.strip():
        raise ValueError(f"{text!r} is not an origin; write scheme://host[:port], or * for all")
    host = parts.netloc.removesuffix(":") if port is None else parts.netloc.rpartition(":")[0]
    if "*" in host.removeprefix("*.") or host.startswith("*.["):
        raise ValueError(f"{text!r} matches no origin; a pattern is scheme://*.host, and * alone is for all")
    if not host.isascii():
        raise ValueError(f"{text!r} matches no origin: browsers send such a name in ASCII, xn--...")
    if not HOST.fullmatch(host.removeprefix("*.")) or ".." in host:
        raise ValueError(f"{text!r} is not an origin: no host is written so")
    if parts.scheme in DEFAULT_PORTS:
        host = _as_sent(host.lower(), text)  # the host of another scheme may have capital letters
    # Browsers leave the default port out, and origins are compared as browsers send them.
    return f"{parts.scheme}://{host}" + (
        "" if port is None or port == DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    )


def _as_sent(host: str, text: str) -> str:
    """Return the host of a page as browsers write it: of each address there is one form (URL standard, 3.6).

    Raises ``ValueError`` for what they take for an address, and is none in that form.
    """
    try:
        if host.startswith("["):
            address = IPv6Address(host[1:-1])
            mapped = address.ipv4_mapped
            if mapped is None:
                return f"[{address}]"
            return f"[::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}]"
        if NUMBER.fullmatch(host):
            return str(IPv4Address(host))
    except ValueError:
        raise ValueError(f"{text!r} matches no origin: browsers send that address in another form") from None
    return host


def parse_origins(given: Iterable[str]) -> frozenset[str]:
    """Return what ``origins=`` allows.

    Raises ``TypeError`` for a ``str``, whose letters would be taken for origins, and as :func:`parse_origin`.
    """
    if isinstance(given, str):
        raise TypeError(f"origins= is a list of origins: [{given!r}]")
    return frozenset(parse_origin(origin) for origin in given)
