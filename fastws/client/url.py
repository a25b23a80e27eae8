"""``ws://`` and ``wss://`` URLs (RFC 6455, section 3) and the addresses in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastws.errors import InvalidURL

__all__ = ["Address", "parse_url"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a ``ws://`` or ``wss://`` URL leads."""

    secure: bool
    host: str
    port: int
    #: The Host field: with the port only where it is not the scheme's own.
    authority: str
    #: Path and query, percent-encoded.
    target: str

    @property
    def url(self) -> str:
        """The URL again, in its plainest form."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What must be equal for two addresses to share credentials (RFC 6454, section 5)."""
        return self.secure, self.host.lower(), self.port


# What no host can hold, and some resolvers take: RFC 3986, section 3.2.2, without percent-encoding.
_NOT_IN_A_HOST = re.compile(r'[\x00-\x20"#%/<>?@\[\\\]^`{|}\x7f]')


def parse_url(url: str) -> Address:
    """Read a WebSocket URL (RFC 6455, section 3). Raises :class:`fastws.InvalidURL`."""
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
        raise InvalidURL("credentials in a URL are not sent; give auth=fastws.BasicAuth(user, password)")
    secure = parts.scheme == "wss"
    default = 443 if secure else 80
    host = _host(parts.hostname, url)
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Address(secure, host, port or default, authority, target)


def _host(name: str, url: str) -> str:
    if ":" in name:
        return name  # urlsplit has seen to it that this is an address of IPv6
    if _NOT_IN_A_HOST.search(name):
        raise InvalidURL(f"{url!r} has a host that is no name")
    try:
        # ASCII too: an empty label, or one of 64 letters, would fail in the resolver.
        encoded = name.encode("idna").decode()
    except UnicodeError:
        raise InvalidURL(f"{url!r} has a host name that cannot be encoded") from None
    return name if name.isascii() else encoded
