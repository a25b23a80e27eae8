"""Tokens and keys of tests, and what a feed and a route say of them."""

from __future__ import annotations

import inspect
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import fastws

SECRET = "a secret of more than thirty-two bytes"
OTHER = "another one of more than thirty-two bytes"
NOW = int(time.time())
#: Longer than all tests take.
HOURS = 36_000
PRIVATE = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
GOOD = {"sub": "ann", "exp": NOW + HOURS}


def pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return data


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    maker = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = maker.to_jwk(key.public_key(), as_dict=True)
    return {**made, **({} if kid is None else {"kid": kid}), **more}


def signed(claims: Any = None, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(GOOD if claims is None else claims, key, algorithm, headers=header or None)


def request(*fields: tuple[str, str], target: str = "/") -> fastws.Request:
    return fastws.Request("GET", target, list(fields), peer=("192.0.2.1", 7))


async def answered(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def user_of(auth: Any, token: str) -> fastws.User:
    """What a feed is told; and a route must say the same."""
    user = await answered(auth(request(), token))
    assert isinstance(user, fastws.User)
    assert await answered(auth(request(("Authorization", f"Bearer {token}")))) is None
    return user


async def refused(auth: Any, token: str) -> None:
    """The same words for every mistake, in a feed and in a route."""
    with pytest.raises(fastws.FeedError) as caught:
        await answered(auth(request(), token))
    assert str(caught.value) == "unauthorized: the token is not valid"
    response = await answered(auth(request(("Authorization", f"Bearer {token}"))))
    assert response.status == 401 and response.body == b"401 Unauthorized\n"
    assert response.headers["www-authenticate"] == 'Bearer realm="fastws", error="invalid_token"'


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now
