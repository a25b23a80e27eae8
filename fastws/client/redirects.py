"""Redirects of the handshake, by a browser's rules (Fetch standard, HTTP-redirect fetch)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urldefrag, urljoin, urlsplit

from fastws.client.url import Address, parse_url
from fastws.errors import HandshakeRefused, InvalidURL, ReceivedResponse

__all__ = ["HandshakeTarget", "follow"]

STATUSES = frozenset((301, 302, 303, 307, 308))
#: Fields that are meant for one origin and no other.
PRIVATE = frozenset((b"authorization", b"cookie", b"host"))
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class HandshakeTarget:
    """What is asked of whom: the part of a handshake that a redirect changes."""

    address: Address
    #: Fields of the application, among them its credentials.
    headers: tuple[tuple[bytes, bytes], ...]
    origin: str | None
    #: Still the origin that the application named: what was given for it may be used.
    first: bool = True


def follow(asked: HandshakeTarget, response: ReceivedResponse) -> HandshakeTarget | None:
    """Return what to ask next, or None when ``response`` is no redirect.

    Another origin (scheme, host or port) is sent neither Authorization nor Cookie, and what an Origin
    field claims becomes ``null`` where a browser would taint it. Raises
    :class:`fastws.HandshakeRefused` for a redirect from ``wss`` to ``ws``, and for a Location that no
    WebSocket can be at.
    """
    if response.status not in STATUSES:
        return None
    locations = response.headers.get_list("location")
    if len(locations) != 1:
        raise HandshakeRefused(response, "a redirect without one Location")
    address = _address(asked.address, locations[0], response)
    if asked.address.secure and not address.secure:
        raise HandshakeRefused(response, "a redirect from wss:// to ws:// is not followed")
    if address.origin == asked.address.origin:
        return replace(asked, address=address)
    headers = tuple(field for field in asked.headers if field[0].lower() not in PRIVATE)
    return HandshakeTarget(address, headers, _tainted(asked.origin, asked.address), first=False)


def _address(base: Address, location: str, response: ReceivedResponse) -> Address:
    try:
        url = urldefrag(urljoin("http" + base.url[2:], location)).url
        scheme = urlsplit(url).scheme
        return parse_url(_SCHEMES.get(scheme, scheme) + url[len(scheme) :])
    except (InvalidURL, ValueError) as exc:
        raise HandshakeRefused(response, f"a redirect that leads nowhere: {exc}") from None


def _tainted(origin: str | None, address: Address) -> str | None:
    """Two origins have had a say in where the request goes: neither stands for it alone."""
    if origin is None:
        return None
    own = f"{'https' if address.secure else 'http'}://{address.authority}"
    return origin if origin.lower() == own.lower() else "null"
