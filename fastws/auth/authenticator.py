"""What all ways to know a client have in common: they serve feeds, routes and server-sent events alike."""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, overload

from fastws.auth.places import Places
from fastws.auth.refusals import NotNow, Refused
from fastws.config import UNSET, Unset
from fastws.feed.access import FeedError, User, note_user
from fastws.logs import escape, peer_text
from fastws.protocol.http.messages import Response, error_response
from fastws.server.log_rate_limit import LogRateLimit

__all__ = ["Authenticator", "checked_seconds"]

#: Lines of one cause, in so many seconds.
LINES, LINE_SECONDS = 10, 60.0
#: Characters of what a line says.
MAX_REASON = 300


def checked_seconds(name: str, value: object, least: float, most: float) -> float:
    """Return a number of seconds. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}= is a number of seconds, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}= is from {least:g} to {most:g} seconds, not {value!r}")
    return float(value)


class Authenticator:
    """An ``authenticate=`` of a :class:`fastws.Feed`, and an ``authorize=`` of a :class:`fastws.Route`.

    A client that is refused hears one and the same, whatever is wrong; the log says what, ten lines a minute
    of each cause. A route lets the client in as ``request.user``.
    """

    #: What the log calls that which a client has.
    what = "the token"
    #: The challenge of a 401 (RFC 9110, section 11.6.1); empty: the refusal is 403.
    challenge = 'Bearer realm="fastws"'

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lines = LogRateLimit(LINES, LINE_SECONDS, logging.INFO)

    def _check(self, credential: str) -> User | Awaitable[User]:
        """Return who it is. Raises :class:`Refused` and :class:`NotNow`."""
        raise NotImplementedError

    @overload
    def __call__(self, request: Any) -> Response | Awaitable[Response | None] | None: ...
    @overload
    def __call__(self, request: Any, token: str | None) -> User | Awaitable[User | None] | None: ...
    def __call__(self, request: Any, token: str | Unset | None = UNSET) -> Any:
        """Answer a feed, which has a ``token`` or None, or a route, which has the request alone.

        Args:
            request: That of the client.
            token: What it has said after the handshake.

        Returns:
            For a feed the :class:`fastws.User`, or None where the client has said nothing yet. For a route
            None to let it in, or the response that refuses.

        Raises:
            FeedError: For a feed: the client is refused, or nobody can say now who it is.
        """
        door: Door = RouteDoor(self) if isinstance(token, Unset) else FeedDoor(self)
        try:
            credential = token if isinstance(token, str) and token else self._places.find(request)
            if not credential:
                return door.unknown()
            user = self._check(credential)
            return (
                self._later(request, user, door) if inspect.isawaitable(user) else _enter(request, user, door)
            )
        except (Refused, NotNow) as error:
            return self._turn_away(request, error, door)

    async def _later(self, request: Any, user: Awaitable[User], door: Door) -> Any:
        try:
            return _enter(request, await user, door)
        except (Refused, NotNow) as error:
            return self._turn_away(request, error, door)

    def _turn_away(self, request: Any, error: Refused | NotNow, door: Door) -> Any:
        # Ours, Starlette's, aiohttp's.
        peers = (getattr(request, name, None) for name in ("peer", "client", "remote"))
        peer = peer_text(next(filter(None, peers), None))
        if isinstance(error, NotNow):
            self._lines.log(logging.ERROR, f"{self.what} of %s cannot be checked now: %s", peer, error.reason)
            return door.not_now(error.seconds)
        values = [escape(value)[:MAX_REASON] if isinstance(value, str) else value for value in error.values]
        self._lines.log(logging.WARNING, f"{self.what} of %s is refused: {error.template}", peer, *values)
        return door.refuse()


def _enter(request: Any, user: User, door: Door) -> Any:
    """Let a user in. Raises :class:`Refused` for one that has expired: a route does not look again."""
    if user.expires_at is not None and user.expires_at <= time.time():
        raise Refused("its user has expired")
    note_user(request, user)
    return door.known(user)


class Door:
    """What is answered where. A feed's answers are exceptions, a route's are responses."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.challenge = authenticator.challenge

    def known(self, user: User) -> Any:
        raise NotImplementedError

    def unknown(self) -> Any:
        """The client says nothing."""
        raise NotImplementedError

    def refuse(self) -> Any:
        raise NotImplementedError

    def not_now(self, seconds: float) -> Any:
        raise NotImplementedError


class FeedDoor(Door):
    """That of a feed."""

    def known(self, user: User) -> Any:
        return user

    def unknown(self) -> Any:
        return None

    def refuse(self) -> Any:
        raise FeedError("unauthorized", "the token is not valid") from None

    def not_now(self, seconds: float) -> Any:
        raise FeedError("unavailable", "try again later", seconds) from None


class RouteDoor(Door):
    """That of a route."""

    def known(self, user: User) -> Any:
        return None

    def unknown(self) -> Any:
        return self._response(self.challenge)

    def refuse(self) -> Any:
        # RFC 6750, section 3.1.
        return self._response(f'{self.challenge}, error="invalid_token"' if self.challenge else "")

    def not_now(self, seconds: float) -> Any:
        return error_response(503, headers=[("Retry-After", str(math.ceil(seconds)))])

    def _response(self, challenge: str) -> Response:
        if not challenge:
            return error_response(403, headers=[("Cache-Control", "no-store")])
        return error_response(401, headers=[("WWW-Authenticate", challenge), ("Cache-Control", "no-store")])
