"""``ws://`` and ``wss://`` URLs, and what they lead to."""

from __future__ import annotations

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
    try:
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    except UnicodeError:
        raise InvalidURL(f"{url!r} has a host name that cannot be encoded") from None
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Address(secure, host, port or default, authority, target)
