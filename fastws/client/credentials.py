"""Who a client says it is: the values of Authorization and Cookie."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BasicAuth", "BearerAuth", "cookie_field"]

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
# RFC 6265, section 4.1.1: a name is a token; of a value only what would end it is refused.
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COOKIE_VALUE = re.compile(r"[^;\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """``user`` and ``password`` for ``connect(..., auth=...)`` (RFC 7617, as UTF-8).

    Raises ``ValueError`` for a user with a colon, which the scheme cannot carry, and for control
    characters.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if ":" in self.user:
            raise ValueError("the user of Basic authentication cannot contain ':'")
        if any(ord(char) < 32 or ord(char) == 127 for char in self.user + self.password):
            raise ValueError("Basic authentication cannot carry control characters")

    @property
    def authorization(self) -> str:
        """The value of the Authorization field."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A ``token`` for ``connect(..., auth=...)`` (RFC 6750). Raises ``ValueError`` if it is none."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise ValueError("that is no bearer token")

    @property
    def authorization(self) -> str:
        """The value of the Authorization field."""
        return f"Bearer {self.token}"


def cookie_field(cookies: Mapping[str, str]) -> str:
    """Return the value of a Cookie field (RFC 6265, section 4.2).

    Raises ``ValueError`` for a name or a value that would make two cookies of one.
    """
    for name, value in cookies.items():
        if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
            raise ValueError(f"{name!r} with this value cannot be a cookie")
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
