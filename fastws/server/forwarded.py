"""The address and scheme that a trusted proxy names.

X-Forwarded-For and X-Forwarded-Proto where one of them is sent, else Forwarded (RFC 7239). Never both: a
proxy replaces the fields of one kind, and lets a client's of the other kind pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastws.protocol.http.addresses import parse_address, parse_network
from fastws.protocol.http.messages import Request

__all__ = ["TrustedProxies", "forwarded"]

# RFC 7239, section 6, without the quotes; Azure and IIS write X-Forwarded-For so, with the port.
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}|[._][\w.-]*))?", re.ASCII)
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):([0-9]{1,5}|[._][\w.-]*)", re.ASCII)
# RFC 7239, section 4: a pair, then a semicolon or the end of the element.
_PAIR = re.compile(
    r"[ \t]*+([!#$%&'*+.^_`|~\w-]++)=(\"[^\"\\]*+\"|[!#$%&'*+.^_`|~\w:\[\]-]++)[ \t]*+(?:;|\Z)",
    re.ASCII,
)


class TrustedProxies:
    """Addresses and networks (``127.0.0.1``, ``10.0.0.0/8``), or ``*`` for every peer.

    Raises ``ValueError`` for what is neither. A Unix socket's peer is trusted when any is.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        names = [name.strip() for name in trusted if name.strip()]
        self._all = "*" in names
        self._networks = [parse_network(name) for name in names if name != "*"]

    def __contains__(self, host: object) -> bool:
        if self._all:
            return True
        try:
            address = parse_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Hop(NamedTuple):
    """Who spoke to a proxy, and over what; None: the proxy does not say, or in no form that we know."""

    peer: tuple[str, int] | None
    protocol: str | None


def forwarded(request: Request, trusted: TrustedProxies) -> bool:
    """Set ``request.peer`` and ``request.scheme`` to those of the nearest hop that is not trusted.

    The list of hops is read from the right: each trusted hop vouches for the address left of it. Returns
    True when the peer has changed.
    """
    peer = request.peer
    host = peer[0] if isinstance(peer, tuple) and peer else None
    if host is not None and host not in trusted:
        return False
    headers = request.headers
    if "x-forwarded-for" in headers or "x-forwarded-proto" in headers:
        _set_scheme(request, headers.get("x-forwarded-proto"))
        hops = [Hop(_node(text), None) for text in ",".join(headers.get_list("x-forwarded-for")).split(",")]
    else:
        # Each element is read alone, from the right: a quote that a client opens swallows no proxy's element.
        hops = [_forwarded_hop(element) for element in ",".join(headers.get_list("forwarded")).split(",")]
    found = False
    for hop in reversed(hops):
        if hop.protocol is not None:
            _set_scheme(request, hop.protocol)
        if hop.peer is None:
            break
        request.peer = hop.peer
        found = True
        if hop.peer[0] not in trusted:
            break
    return found


def _set_scheme(request: Request, protocol: str | None) -> None:
    protocol = (protocol or "").strip().lower()
    if protocol in ("http", "https", "ws", "wss"):
        secure = protocol in ("https", "wss")
        request.scheme = ("wss" if secure else "ws") if request.upgrade else ("https" if secure else "http")


def _forwarded_hop(element: str) -> Hop:
    """Return what an element of Forwarded says (RFC 7239, section 4); nothing where it breaks the grammar."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None:
            return Hop(None, None)
        pairs[match[1].lower()] = match[2].strip('"')
        position = match.end()
    return Hop(_node(pairs.get("for", "")), pairs.get("proto"))


def _node(text: str) -> tuple[str, int] | None:
    """Return address and port (0 where none is said) of a node; None for what is no address.

    Such as ``unknown`` and ``_hidden`` (RFC 7239, sections 6.2 and 6.3).
    """
    text = text.strip(' \t"')
    match = _BRACKETED.fullmatch(text) or _IPV4_WITH_PORT.fullmatch(text)
    host, port = (match[1], match[2] or "") if match else (text, "")
    try:
        number = int(port) if port.isdigit() else 0
        return (str(parse_address(host)), number) if number <= 65535 else None
    except ValueError:
        return None
