"""JSON Web Tokens (RFC 7519), checked by PyJWT."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastws.auth.authenticator import Authenticator, checked_seconds
from fastws.auth.jwks import FetchedKeys
from fastws.auth.keys import FileKeys, GivenKeys, KeySource, checked_algorithms, pyjwt
from fastws.auth.places import Places
from fastws.auth.refusals import Refused
from fastws.feed.access import User
from fastws.web.origins import parse_origins

__all__ = ["JWTAuth", "jwt_auth"]

#: Characters of a token: with more it is looked at no closer.
MAX_CHARACTERS = 16 * 1024

#: Claims that are moments.
TIMES = ("exp", "nbf", "iat")

UserOf = Callable[[Mapping[str, Any]], User | Awaitable[User | None] | None]


def jwt_auth(
    keys: Any,
    *,
    algorithms: Sequence[str],
    audience: str | Iterable[str] | None = None,
    issuer: str | Sequence[str] | None = None,
    leeway: float = 0.0,
    user: UserOf | None = None,
    header: str | None = "Authorization",
    subprotocol: str | None = None,
    query: str | None = None,
    cookie: str | None = None,
    origins: Iterable[str] = (),
) -> JWTAuth:
    """Return an ``authenticate=`` for feeds, which is an ``authorize=`` for routes too, by JSON Web Tokens.

    It needs PyJWT: ``pip install 'fastws-server[jwt]'``. A token must have ``exp``, and a feed ends with it;
    ``nbf`` and ``iat`` are checked where they are. Tokens with ``crit`` are refused.

    Args:
        keys: A secret or a public key in PEM, as ``str`` or ``bytes``; a mapping from the names of several
            (``kid``); a JWK or a set of them as a mapping; the path of a file with one of these, as a
            ``Path``, read again when it changes; or the ``https://`` URL of a set, which is fetched in a
            thread when the first token comes, and again after 5 minutes, or for an unknown ``kid``, at most
            once in 30 s.
        algorithms: Those that tokens may have, such as ``["RS256"]``: of a secret or of a key pair, not both.
            ``none`` is not one. There is no default.
        audience: One of these must be in ``aud``. Default None: a token with ``aud`` is refused.
        issuer: ``iss`` must be one of these. Default None: it is not looked at.
        leeway: Seconds by which clocks may differ. Default 0.
        user: Makes a :class:`fastws.User` of the claims, or None to refuse; it may be ``async def``. Default:
            ``sub`` is the user's id. The user expires with the token in any case.
        header: The name of a header, as for :func:`fastws.token_auth`; None: no header.
        subprotocol: The beginning of a subprotocol that the client offers. Default None: not looked at.
        query: The name of a parameter of the URL. Default None: not looked at.
        cookie: The name of a cookie. Default None: not looked at. Of what is in the request the first place
            decides; what a client of a feed says after the handshake is taken before all.
        origins: As for :func:`session_auth`, where a cookie is looked at.

    Raises:
        ImportError: PyJWT is missing.
        ValueError: An algorithm is none, or they do not go together; a key is none for them, or too short; a
            URL or a name cannot be.
        TypeError: An argument is of another type.
        OSError: The file of the keys cannot be read.
    """
    places = Places(header, subprotocol, query, cookie, parse_origins(origins))
    names = checked_algorithms(algorithms)
    source: KeySource
    if isinstance(keys, os.PathLike):
        source = FileKeys(os.fsdecode(keys), names)
    elif isinstance(keys, str) and keys.startswith(("https://", "http://")):
        source = FetchedKeys(keys, names)
    else:
        source = GivenKeys(keys, names)
    seconds = checked_seconds("leeway", leeway, 0, 3600)
    if user is not None and not callable(user):
        raise TypeError(f"user= is a function of the claims, not {user!r}")
    audiences = audience if audience is None or isinstance(audience, str) else list(audience)
    return JWTAuth(places, source, names, audiences, issuer, seconds, user)


class JWTAuth(Authenticator):
    """Made by :func:`jwt_auth`."""

    what = "the JWT"

    def __init__(
        self,
        places: Places,
        keys: KeySource,
        algorithms: tuple[str, ...],
        audience: str | list[str] | None,
        issuer: str | Sequence[str] | None,
        leeway: float,
        user: UserOf | None,
    ) -> None:
        super().__init__(places)
        self._keys = keys
        self._algorithms = algorithms
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._user = user
        self._jwt = pyjwt()

    def _check(self, credential: str) -> User | Awaitable[User]:
        if len(credential) > MAX_CHARACTERS:
            raise Refused("it has more than %d characters", MAX_CHARACTERS)
        header = self._header(credential)
        algorithm = header.get("alg")
        if algorithm not in self._algorithms:
            raise Refused(
                "its algorithm (alg) is %s, not one of %s", str(algorithm), ", ".join(self._algorithms)
            )
        if "crit" in header:
            raise Refused("it has critical extensions (crit)")
        key = self._keys.find(header.get("kid"), algorithm)
        if inspect.isawaitable(key):
            return self._check_later(credential, key, algorithm)
        return self._user_of(self._claims(credential, key, algorithm))

    async def _check_later(self, credential: str, key: Awaitable[Any], algorithm: str) -> User:
        user: Any = self._user_of(self._claims(credential, await key, algorithm))
        found: User = await user if inspect.isawaitable(user) else user
        return found

    def _header(self, token: str) -> dict[str, Any]:
        try:
            header: dict[str, Any] = self._jwt.get_unverified_header(token)
        except (self._jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise Refused("it is no JWT: %s", str(error)) from None
        return header

    def _claims(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        jwt = self._jwt
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp"]},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("it has expired (exp)") from None
        except jwt.ImmatureSignatureError:
            raise Refused("it is not valid yet (nbf or iat): do the clocks differ?") from None
        except jwt.InvalidAudienceError:
            raise Refused("it is for another audience (aud), or audience= is missing") from None
        except jwt.InvalidIssuerError:
            raise Refused("it is of another issuer (iss)") from None
        except jwt.MissingRequiredClaimError as error:
            raise Refused("it has no %s", str(error.claim)) from None
        except jwt.InvalidSignatureError:
            raise Refused("its signature is not that of the key") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refused("%s", str(error) or type(error).__name__) from None
        for name in TIMES:
            # PyJWT takes "1" as well (RFC 7519, section 2: a NumericDate is a number).
            if name in claims and (
                isinstance(claims[name], bool) or not isinstance(claims[name], (int, float))
            ):
                raise Refused("its %s is no number", name)
        return claims

    def _user_of(self, claims: dict[str, Any]) -> User | Awaitable[User]:
        expires_at = float(claims["exp"]) + self._leeway
        if self._user is None:
            return self._user_by_sub(claims, expires_at)
        found: Any = self._user(claims)
        if inspect.isawaitable(found):
            return self._user_later(found, expires_at)
        return self._known(found, expires_at)

    async def _user_later(self, found: Awaitable[Any], expires_at: float) -> User:
        return self._known(await found, expires_at)

    def _known(self, user: Any, expires_at: float) -> User:
        if user is None:
            raise Refused("user= knows nobody with these claims")
        if not isinstance(user, User):
            raise TypeError(f"user= of jwt_auth returned {user!r}, which is no fastws.User and not None")
        if user.expires_at is None or user.expires_at > expires_at:
            user = replace(user, expires_at=expires_at)
        known: User = user
        return known

    def _user_by_sub(self, claims: dict[str, Any], expires_at: float) -> User:
        subject = claims.get("sub")
        try:
            return User(subject, expires_at=expires_at, claims=claims)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise Refused("its subject (sub) is no name of a user: give jwt_auth user=") from None
