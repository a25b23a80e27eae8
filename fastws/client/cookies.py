"""Cookies that are kept from one handshake to the next, in a ``http.cookiejar.CookieJar``.

A module of its own: what it imports costs more than a connection, and few clients need it.
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, cast
from urllib.request import Request

from fastws.errors import ReceivedResponse

if TYPE_CHECKING:
    from fastws.client.url import Address

__all__ = ["jar_field", "store_cookies"]


def jar_field(jar: CookieJar, address: Address) -> str | None:
    """Return what the jar holds for an address, as the value of a Cookie field."""
    request = _as_http(address)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")


def store_cookies(jar: CookieJar, address: Address, response: ReceivedResponse) -> None:
    """Put what a response sets into the jar, by the jar's policy."""
    jar.extract_cookies(cast(Any, _Answer(response)), _as_http(address))


def _as_http(address: Address) -> Request:
    """The request as ``http.cookiejar`` wants it: cookies do not tell ws from http."""
    return Request(f"http{'s' if address.secure else ''}://{address.authority}{address.target}")


class _Answer:
    """A response as ``http.cookiejar`` wants it."""

    def __init__(self, response: ReceivedResponse) -> None:
        self._headers = response.headers

    def info(self) -> _Answer:
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return self._headers.get_list(name) or default
