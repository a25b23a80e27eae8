"""``ws://`` and ``wss://`` URLs (RFC 6455, section 3) and the addresses in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from fastws.errors import InvalidURL

__all__ = ["Address", "certificate_name", "host_of", "parse_url", "without_zone"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a ``ws://`` or ``wss://`` URL leads."""

    secure: bool
    #: A name in ASCII, or an address; that of IPv6 has no brackets and may have a zone (``fe80::1%eth0``).
    host: str
    port: int
    #: The Host field: with the port only where it is not the scheme's own, without a zone.
    authority: str
    #: Path and query, percent-encoded.
    target: str

    @property
    def url(self) -> str:
        """The URL again, in its plainest form."""
        authority = self.authority
        if "%" in self.host:  # RFC 6874, section 2; no other host has such a character
            authority = authority.replace("]", f"%25{quote(self.host.partition('%')[2], safe='')}]", 1)
        return f"{'wss' if self.secure else 'ws'}://{authority}{self.target}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What must be equal for two addresses to share credentials (RFC 6454, section 5)."""
        return self.secure, self.host.lower(), self.port


# What no host can hold, and some resolvers take: RFC 3986, section 3.2.2, without percent-encoding.
_NOT_IN_A_HOST = re.compile(r'[\x00-\x20"#%/<>?@\[\\\]^`{|}\x7f]')


def without_zone(host: str) -> str:
    """Return an address without its zone, which means nothing to anybody else (RFC 6874, section 4)."""
    return host.partition("%")[0]


def certificate_name(host: str) -> str:
    """Return the name that the certificate of ``host`` must have, which is also the one for SNI.

    It has neither the final dot of an absolute name (RFC 6066, section 3) nor a zone.
    """
    return without_zone(host).removesuffix(".")


def parse_url(url: str) -> Address:
    """Read a WebSocket URL (RFC 6455, section 3). Raises :class:`fastws.InvalidURL`.

    An address of IPv6 may have a zone: ``ws://[fe80::1%25eth0]/`` (RFC 6874), or with a bare ``%``.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidURL(f"{url!r} is no URL: {exc}") from None
    if parts.scheme not in ("ws", "wss"):
        raise InvalidURL(f"{url!r} does not begin with ws:// or wss://")
    if not parts.hostname:
        raise InvalidURL(f"{url!r} names no host")
    if parts.fragment or url.endswith("#"):
        raise InvalidURL(f"{url!r} has a fragment, which a WebSocket URL must not")
    if parts.username is not None:
        raise InvalidURL(
            "credentials in a URL are not sent; give auth=fastws.BasicAuth(user, password), "
            "on the command line --header 'Authorization: Basic ...'"
        )
    if port == 0:
        raise InvalidURL(f"{url!r} has the port 0, to which nothing can connect")
    secure = parts.scheme == "wss"
    default = 443 if secure else 80
    host = host_of(parts.hostname, repr(url))
    shown = f"[{without_zone(host)}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Address(secure, host, port or default, authority, target)


def host_of(name: str, where: str) -> str:
    """Return the host of a URL as :class:`Address` has it; ``where`` is what the URL is called in an error.

    Raises :class:`fastws.InvalidURL`.
    """
    if ":" in name:
        # urlsplit has seen to it that this is an address of IPv6.
        address, _, zone = name.partition("%")
        if not zone:
            return address
        if zone.startswith("25") and len(zone) > 2:
            zone = unquote(zone[2:])
        if not zone.isprintable() or _NOT_IN_A_HOST.search(zone):
            raise InvalidURL(f"{where} has an address with a zone that is no name")
        return f"{address}%{zone}"
    if _NOT_IN_A_HOST.search(name):
        raise InvalidURL(f"{where} has a host that is no name")
    try:
        # ASCII too: an empty label, or one of 64 letters, would fail in the resolver.
        encoded = name.encode("idna").decode()
    except UnicodeError:
        raise InvalidURL(f"{where} has a host name that cannot be encoded") from None
    return name if name.isascii() else encoded
