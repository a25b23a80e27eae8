"""Where in a request a client says who it is: in a header, the URL or a cookie, in any framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from fastws import logs
from fastws.auth.refusals import Refused
from fastws.feed.query import query_of
from fastws.protocol.http.headers import is_token
from fastws.protocol.http.messages import Request
from fastws.protocol.websocket.handshake import is_origin_allowed

__all__ = ["Places", "cookie_of", "header_of"]


@dataclass(frozen=True, slots=True)
class Places:
    """The places to look at, in this order; the first that holds anything decides.

    Raises ``ValueError`` for names that no request can carry, and where there is no place.
    """

    #: A header; ``Authorization`` holds ``Bearer TOKEN``.
    header: str | None = None
    #: The beginning of a subprotocol that the client offers.
    subprotocol: str | None = None
    #: A parameter of the URL.
    query: str | None = None
    cookie: str | None = None
    #: In another framework, those whose pages may use the cookie besides its own host's.
    origins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in (self.header, self.subprotocol, self.cookie):
            if name is not None and not is_token(name):
                raise ValueError(f"{name!r} is not a name that a header can carry")
        if self.query is not None:
            if not self.query:
                raise ValueError("the parameter of the query has no name")
            logs.secret_parameters.add(self.query)

    def find(self, request: Any) -> str | None:
        """Return what the client says; None where it says nothing, or says it twice.

        Raises :class:`Refused` for a cookie that a page of another site has made a browser send.
        """
        if self.header is not None and (found := header_of(request, self.header)) is not None:
            if self.header.lower() != "authorization":
                return found
            scheme, _, token = found.partition(" ")
            return token.strip(" ") if scheme.lower() == "bearer" else None
        if self.subprotocol is not None:
            for offer in (header_of(request, "sec-websocket-protocol") or "").split(","):
                if offer.strip(" \t").startswith(self.subprotocol):
                    return offer.strip(" \t")[len(self.subprotocol) :]
        if self.query is not None and (found := _parameter_of(request, self.query)):
            return found
        if self.cookie is None or (found := cookie_of(request, self.cookie)) is None:
            return None
        # Where a Route is asked, the server has looked at the Origin before.
        origin = None if isinstance(request, Request) else header_of(request, "origin")
        if origin is not None and not is_origin_allowed(origin, header_of(request, "host"), self.origins):
            raise Refused("it came from a page of %s: see origins=", origin)
        return found


def header_of(request: Any, name: str) -> str | None:
    """Return the value of a header, values of a list joined; None where there is none."""
    headers = request.headers
    # Ours, Starlette's, aiohttp's, and that of websockets.
    for lister in ("get_list", "getlist", "getall", "get_all"):
        take = getattr(headers, lister, None)
        if take is not None:
            values = list(take(name, [])) if lister == "getall" else list(take(name))
            return ",".join(values) if values else None
    found: str | None = headers.get(name)
    return found


def cookie_of(request: Any, name: str) -> str | None:
    """Return the value of a cookie; None where there is none."""
    cookies = getattr(request, "cookies", None)
    if cookies is None:
        cookies = Request(headers=[("Cookie", header_of(request, "cookie") or "")]).cookies
    found: str | None = cookies.get(name)
    return found


def _parameter_of(request: Any, name: str) -> str | None:
    """Return the value of a parameter that is there once."""
    try:
        values = parse_qs(query_of(request), keep_blank_values=True, max_num_fields=1000).get(name, [])
    except ValueError:
        return None
    return values[0] if len(values) == 1 else None
