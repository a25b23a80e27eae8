"""Cookies of sessions that another framework has made: Starlette's own, and any other by a function."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from fastws.auth.authenticator import Authenticator
from fastws.auth.places import Places
from fastws.auth.refusals import Refused
from fastws.connection.handlers import is_async
from fastws.feed.access import User
from fastws.web.origins import parse_origins

__all__ = ["SessionAuth", "session_auth", "starlette_session"]

MAX_CHARACTERS = 8192

Found = User | None
Load = Callable[[str], Found | Awaitable[Found]]


def session_auth(load: Load, *, cookie: str, origins: Iterable[str] = ()) -> SessionAuth:
    """Return an ``authenticate=`` for feeds, which is an ``authorize=`` for routes too, by a cookie.

    Browsers send cookies whichever page connects. In a :class:`fastws.Route` the server has looked at the
    Origin before; in another framework this function does, and refuses pages of other origins.

    Args:
        load: A function from the value of the cookie to a :class:`fastws.User`, or None for nobody. A ``def``
            is called in a thread, where it may ask a database; an ``async def`` on the loop. In a feed it has
            10 s, in a route the time of the handshake.
        cookie: The name of the cookie, such as ``"sessionid"``.
        origins: In another framework, those whose pages may connect besides its own host's.

    Raises:
        TypeError: ``load`` is no function.
        ValueError: ``cookie`` is no name, or an origin is none.
    """
    if not callable(load):
        raise TypeError(f"session_auth takes a function, not {load!r}")
    return SessionAuth(load, _place(cookie, origins), in_thread=not is_async(load))


def starlette_session(
    secret_key: str | bytes,
    user: Callable[[Mapping[str, Any]], Found],
    *,
    cookie: str = "session",
    max_age: int = 14 * 24 * 60 * 60,
    origins: Iterable[str] = (),
) -> SessionAuth:
    """Return the same for the cookies of Starlette's ``SessionMiddleware``, which FastAPI has too.

    It needs itsdangerous, as the middleware does: ``pip install itsdangerous``.

    Args:
        secret_key: That of the middleware.
        user: A function from the session, a mapping, to a :class:`fastws.User`, or None for nobody. It is
            called on the loop.
        cookie: As ``session_cookie`` of the middleware (``"session"``).
        max_age: As there, in seconds (14 days).
        origins: As for :func:`session_auth`.

    Raises:
        ImportError: itsdangerous is missing.
        TypeError: ``user`` is no function.
        ValueError: ``cookie`` is no name, or an origin is none.
    """
    if not callable(user):
        raise TypeError(f"user= is a function of the session, not {user!r}")
    try:
        itsdangerous: Any = import_module("itsdangerous")
    except ImportError:
        raise ImportError("starlette_session needs itsdangerous: pip install itsdangerous") from None
    signer = itsdangerous.TimestampSigner(secret_key if isinstance(secret_key, bytes) else str(secret_key))

    def load(value: str) -> Found:
        try:
            session = json.loads(base64.b64decode(signer.unsign(value.encode(), max_age=max_age)))
        except itsdangerous.SignatureExpired:
            raise Refused("it has expired") from None
        except itsdangerous.BadSignature:
            raise Refused("its signature is not ours") from None
        except (binascii.Error, ValueError, RecursionError):
            raise Refused("it is no session of Starlette") from None
        return user(session) if isinstance(session, dict) else None

    return SessionAuth(load, _place(cookie, origins), in_thread=False)


def _place(cookie: str, origins: Iterable[str]) -> Places:
    return Places(cookie=cookie, origins=parse_origins(origins))


class SessionAuth(Authenticator):
    """Made by :func:`session_auth` and :func:`starlette_session`."""

    what = "the session"
    challenge = ""

    def __init__(self, load: Load, places: Places, *, in_thread: bool) -> None:
        super().__init__(places)
        self._load = load
        self._in_thread = in_thread

    def _check(self, credential: str) -> User | Awaitable[User]:
        if len(credential) > MAX_CHARACTERS:
            raise Refused("it has more than %d characters", MAX_CHARACTERS)
        if self._in_thread:
            return self._known_later(asyncio.to_thread(self._load, credential))
        found = self._load(credential)
        return self._known_later(found) if inspect.isawaitable(found) else self._known(found)

    async def _known_later(self, found: Awaitable[Any]) -> User:
        return self._known(await found)

    def _known(self, user: Any) -> User:
        if user is None:
            raise Refused("nobody has it")
        if not isinstance(user, User):
            raise TypeError(f"a session's function returned {user!r}, which is no fastws.User and not None")
        return user
