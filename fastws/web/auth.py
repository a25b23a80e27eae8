"""Ready-made ``authorize=`` for routes: HTTP Basic (RFC 7617) and tokens (RFC 6750).

Secrets are compared as keyed digests in constant time, and an unknown user takes the same path as a
wrong password. A refusal is 401 with ``WWW-Authenticate`` (RFC 9110, section 15.5.2) and constant words.
Nothing of a secret is logged: these functions log nothing, and the access log hides the value of a token
in a query. Without TLS every secret can be read on its way.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastws import logs
from fastws.protocol.http.headers import is_token, is_value
from fastws.protocol.http.messages import Request, Response, error_response

__all__ = ["basic_auth", "basic_credentials", "token_auth"]

Verdict = Response | Awaitable[Response | None] | None
#: Decides on a user and a password; it may hash or ask a database, and be ``async def``.
PasswordCheck = Callable[[str, str], bool | Awaitable[bool]]
#: Decides on a token.
TokenCheck = Callable[[str], bool | Awaitable[bool]]


def basic_auth(realm: str, credentials: Mapping[str, str] | PasswordCheck) -> Callable[[Request], Verdict]:
    """Return an ``authorize`` that asks for a user and a password. The user is then ``request.user``.

    Args:
        realm: what the browser shows to the person.
        credentials: a mapping from users to passwords; or a check of your own, ``def`` or ``async def``,
            from user and password to a bool, which has to take care of its own timing. An ``async def`` is
            cancelled when the client goes or the time for the handshake is over.

    Raises:
        ValueError: no header can carry the realm, or a user has a colon (RFC 7617, section 2).
    """
    challenge = f'Basic realm={_quoted(realm)}, charset="UTF-8"'
    if isinstance(credentials, Mapping):
        if any(":" in user for user in credentials):
            raise ValueError("a user of HTTP Basic authentication has no colon")
        check: PasswordCheck = _Secrets(credentials).match
    else:
        check = credentials

    def authorize(request: Request) -> Verdict:
        given = basic_credentials(request)
        if given is None:
            return _unauthorized(challenge)
        return _verdict(check(*given), challenge, request, given[0])

    return authorize


def token_auth(
    tokens: str | Iterable[str] | TokenCheck,
    *,
    header: str | None = "Authorization",
    subprotocol: str | None = None,
    query: str | None = None,
    realm: str = "fastws",
) -> Callable[[Request], Verdict]:
    """Return an ``authorize`` that asks for one of the ``tokens``, or one that the check accepts.

    Of ``header``, ``subprotocol`` and ``query`` the first that holds a token decides; the others are not
    looked at.

    Args:
        tokens: one token, several, or a check of your own, ``def`` or ``async def``, from the token to a
            bool, which has to take care of its own timing.
        header: the name of a header (Authorization, which holds ``Bearer TOKEN``; one of another name
            holds the token alone). None: no header.
        subprotocol: the beginning of a subprotocol that the client offers, ``"bearer."`` for
            ``new WebSocket(url, ["chat", "bearer.TOKEN"])``: a browser can set no header. The server never
            chooses it, and a browser insists that one is chosen: name the other one in the ``subprotocols``
            of the route. None (the default): no subprotocol.
        query: the name of a parameter of the URL. Proxies log URLs; our access log hides this parameter.
            None (the default): no parameter.
        realm: what the 401 names (fastws).

    Raises:
        ValueError: there is no place for a token, a token is empty, or no request can carry a name.
    """
    if header is None and subprotocol is None and query is None:
        raise ValueError("token_auth has no place to look for a token")
    for name in (header, subprotocol):
        if name is not None and not is_token(name):
            raise ValueError(f"{name!r} is not a name that a header can carry")
    if query is not None:
        if not query:
            raise ValueError("the parameter of the query has no name")
        logs.secret_parameters.add(query)
    challenge = f"Bearer realm={_quoted(realm)}"
    check: TokenCheck
    if callable(tokens):
        check = tokens
    else:
        known = [tokens] if isinstance(tokens, str) else list(tokens)
        if "" in known:
            raise ValueError("a token is not empty")
        secrets = _Secrets({token: token for token in known})

        def check(token: str) -> bool:
            return secrets.match(token, token)

    def authorize(request: Request) -> Verdict:
        token = _token(request, header, subprotocol, query)
        if not token:
            # RFC 6750, section 3.1: no error code for a request that brings nothing.
            return _unauthorized(challenge)
        return _verdict(check(token), f'{challenge}, error="invalid_token"', request, None)

    return authorize


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return user and password of a request, or None when it has none that can be read."""
    encoded = _authorization(request, "basic")
    if encoded is None:
        return None
    try:
        text = binascii.a2b_base64(encoded.encode("ascii"), strict_mode=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


class _Secrets:
    """Names with a secret each, kept as digests under a key that only this process knows.

    All that is compared has one length, and the time that it takes says nothing about a secret, nor whether
    a name is known. A dictionary would tell that: it compares once more when it finds a name. So the digest
    of a name leads to a bucket; all buckets are equally full, and all of one is compared.
    """

    __slots__ = ("_buckets", "_key")

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._key = os.urandom(32)
        # A power of two: about one name in each.
        self._buckets: list[list[tuple[bytes, bytes]]] = [[] for _ in range(1 << len(secrets).bit_length())]
        for name, secret in secrets.items():
            digest = self._digest(name)
            self._bucket(digest).append((digest, self._digest(secret)))
        fullest = max(map(len, self._buckets))
        for bucket in self._buckets:
            # Filled up with random digests, which nothing equals.
            bucket += [(os.urandom(32), os.urandom(32)) for _ in range(fullest - len(bucket))]

    def _digest(self, text: str) -> bytes:
        # Surrogates, too, can be encoded then, whatever the header held.
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, key=self._key).digest()

    def _bucket(self, digest: bytes) -> list[tuple[bytes, bytes]]:
        return self._buckets[int.from_bytes(digest[:4]) & len(self._buckets) - 1]

    def match(self, name: str, secret: str) -> bool:
        given = self._digest(name), self._digest(secret)
        found = False
        for known in self._bucket(given[0]):
            # Both are always compared: & does not stop at the first.
            found |= hmac.compare_digest(given[0], known[0]) & hmac.compare_digest(given[1], known[1])
        return found


def _token(request: Request, header: str | None, subprotocol: str | None, query: str | None) -> str | None:
    if header is not None and header in request.headers:
        if header.lower() == "authorization":
            return _authorization(request, "bearer")
        values = request.headers.get_list(header)
        return values[0] if len(values) == 1 else None
    if subprotocol is not None:
        for value in request.headers.get_list("sec-websocket-protocol"):
            for offer in value.split(","):
                if offer.strip(" \t").startswith(subprotocol):
                    return offer.strip(" \t")[len(subprotocol) :]
    if query is not None:
        try:
            values = request.query_params.get(query, [])
        except ValueError:
            return None
        return values[0] if len(values) == 1 else None
    return None


def _authorization(request: Request, scheme: str) -> str | None:
    """Return what follows the scheme (RFC 9110, section 11.6.2); None for another one, and for two fields."""
    values = request.headers.get_list("authorization")
    if len(values) != 1:
        return None
    given, _, credentials = values[0].partition(" ")
    return credentials.strip(" ") if given.lower() == scheme else None


def _verdict(accepted: Any, challenge: str, request: Request, user: str | None) -> Verdict:
    """Let a request in, as that of ``user``, or refuse it."""
    if inspect.isawaitable(accepted):
        return _later_verdict(accepted, challenge, request, user)
    if accepted is not True:
        return _unauthorized(challenge)
    if user is not None:
        request.user = user
    return None


async def _later_verdict(
    accepted: Awaitable[bool], challenge: str, request: Request, user: str | None
) -> Response | None:
    if await accepted is not True:
        return _unauthorized(challenge)
    if user is not None:
        request.user = user
    return None


def _unauthorized(challenge: str) -> Response:
    return error_response(401, headers=[("WWW-Authenticate", challenge), ("Cache-Control", "no-store")])


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110, section 5.6.4)."""
    if not is_value(text):
        raise ValueError(f"the realm {text!r} holds characters that no header can carry")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
