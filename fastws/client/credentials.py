"""The credentials of a client: the fields Authorization and Cookie."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["BasicAuth", "BearerAuth", "cookie_field", "cookie_jar", "one_cookie_field"]

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


def cookie_jar(cookies: object) -> CookieJar | None:
    """Return the jar that ``cookies`` is or holds; None for one that is not a jar.

    A jar may be a mapping as well: that of requests is one, and so is httpx's, which holds its jar in
    ``jar``. Such a mapping has the cookies of all domains, so look for the jar first. A jar is known by its
    methods, because importing ``http.cookiejar`` costs more than a connection.
    """
    for candidate in (cookies, getattr(cookies, "jar", None)):
        if hasattr(candidate, "add_cookie_header") and hasattr(candidate, "extract_cookies"):
            return cast("CookieJar", candidate)
    return None


def cookie_field(cookies: Mapping[str, str]) -> str:
    """Return the value of a Cookie field (RFC 6265, section 4.2).

    Raises ``ValueError`` for a name or a value that would make two cookies of one, ``TypeError`` for one
    that is not text, and for ``cookies`` that is not a mapping.
    """
    if not isinstance(cookies, Mapping):
        raise TypeError(f"cookies is a mapping or an http.cookiejar.CookieJar, not {type(cookies).__name__}")
    for name, value in cookies.items():
        _check_cookie(name, value)
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _check_cookie(name: Any, value: Any) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a cookie has a name and a value (str), not {name!r} and {type(value).__name__}")
    if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(f"{name!r} with this value cannot be a cookie")


def one_cookie_field(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return ``fields`` with all Cookie fields joined in the place of the first (RFC 6265, section 5.4)."""
    joined: list[tuple[bytes, bytes]] = []
    place: int | None = None
    for name, value in fields:
        if name.lower() != b"cookie":
            joined.append((name, value))
        elif not value.strip(b" \t;"):
            continue  # no cookie in it: nothing to send
        elif place is None:
            place = len(joined)
            joined.append((name, value))
        else:
            joined[place] = (joined[place][0], joined[place][1].rstrip(b" \t;") + b"; " + value)
    return joined
