"""The credentials of a client: the values of Authorization and Cookie."""

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
    """User and password for ``connect(..., auth=...)`` (RFC 7617).

    They are sent with every request to the URL's origin, encoded but not encrypted: use ``wss``.

    Args:
        user: The user, sent as UTF-8.
        password: The password, sent as UTF-8; not in the ``repr``.

    Raises:
        ValueError: ``user`` has a colon, which the scheme cannot carry (RFC 7617, section 2), or ``user``
            or ``password`` has a control character.
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
        """The value of the Authorization field (RFC 9110, section 11.6.2)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A token for ``connect(..., auth=...)`` (RFC 6750).

    It is sent with every request to the URL's origin, and who reads it can use it: use ``wss``.

    Args:
        token: Letters, digits and ``-._~+/``, then any number of ``=``; not in the ``repr``.

    Raises:
        ValueError: ``token`` has another character (RFC 6750, section 2.1).
    """

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise ValueError("that is no bearer token")

    @property
    def authorization(self) -> str:
        """The value of the Authorization field (RFC 9110, section 11.6.2)."""
        return f"Bearer {self.token}"


def cookie_field(cookies: Mapping[str, str]) -> str:
    """Return the value of a Cookie field (RFC 6265, section 4.2).

    Raises ``ValueError`` for a name or a value that would make two cookies of one.
    """
    for name, value in cookies.items():
        if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
            raise ValueError(f"{name!r} with this value cannot be a cookie")
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
