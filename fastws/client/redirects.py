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
    """The part of a handshake that a redirect changes: the address, and what is sent to it."""

    address: Address
    #: The application's fields, credentials and cookies among them.
    headers: tuple[tuple[bytes, bytes], ...]
    origin: str | None
    #: True while this is the origin that the application named; its options are meant for that one.
    first: bool = True


def follow(target: HandshakeTarget, response: ReceivedResponse) -> HandshakeTarget | None:
    """Return where a redirect leads (RFC 9110, section 15.4), or None when ``response`` is none.

    Another origin (scheme, host or port) gets neither Authorization nor Cookie, and an Origin field
    becomes ``null`` where a browser would taint it.

    Raises:
        HandshakeRefused: The redirect leads from ``wss`` to ``ws``, or its Location is no WebSocket's.
    """
    if response.status not in STATUSES:
        return None
    locations = response.headers.get_list("location")
    if len(locations) != 1:
        raise HandshakeRefused(response, "a redirect without one Location")
    address = _address(target.address, locations[0], response)
    if target.address.secure and not address.secure:
        raise HandshakeRefused(response, "a redirect from wss:// to ws:// is not followed")
    if address.origin == target.address.origin:
        return replace(target, address=address)
    headers = tuple(field for field in target.headers if field[0].lower() not in PRIVATE)
    return HandshakeTarget(address, headers, _tainted(target.origin, target.address), first=False)


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
