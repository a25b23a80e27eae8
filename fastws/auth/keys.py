"""The keys that check JSON Web Tokens: given as they are, read from a file, or fetched (see ``jwks.py``)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from fastws.auth.refusals import Refused

__all__ = ["FileKeys", "GivenKeys", "KeySource", "keys_of_text", "checked_algorithms", "pyjwt"]

log = logging.getLogger("fastws.error")

#: Bytes of a key of HMAC: at least those of its hash (RFC 7518, section 3.2).
HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
MAX_KEYS = 100
MAX_FILE_BYTES = 2**18
#: Seconds between two looks whether a file has changed.
LOOK_SECONDS = 1.0


class KeySource(Protocol):
    """Where keys come from."""

    def find(self, kid: str | None, algorithm: str) -> Any | Awaitable[Any]:
        """Return the key that a token names. Raises ``Refused`` and ``NotNow``."""


def pyjwt() -> Any:
    """Return the module of PyJWT. Raises ``ImportError`` that says how to install it."""
    try:
        import_module("cryptography")
        return import_module("jwt")
    except ImportError:
        raise ImportError("jwt_auth needs PyJWT: pip install 'fastws-server[jwt]'") from None


def checked_algorithms(algorithms: Sequence[str]) -> tuple[str, ...]:
    """Return the names of algorithms. Raises ``ValueError`` for those that must not be, or not together."""
    if isinstance(algorithms, str):
        raise TypeError(f"algorithms= is a list of names: [{algorithms!r}]")
    names = tuple(algorithms)
    known = pyjwt().algorithms.get_default_algorithms()
    if not names:
        raise ValueError("algorithms= names at least one, such as 'RS256'")
    for name in names:
        if name not in known or name.lower() == "none":
            others = ", ".join(sorted(set(known) - {"none"}))
            raise ValueError(f"algorithms= has {name!r}; there are {others}")
    if len({name in HMAC_BYTES for name in names}) > 1:
        raise ValueError(
            "algorithms= are those of a secret (HS256) or of a key pair (RS256, ES256), not both: else a "
            "public key could be taken for a secret"
        )
    return names


class GivenKeys:
    """Keys by their names and algorithms.

    Raises ``ValueError`` for what is no key for any of the algorithms.
    """

    def __init__(self, keys: Any, algorithms: Sequence[str]) -> None:
        self._algorithms = algorithms
        #: By name, None for keys without one: by algorithm.
        self._keys: dict[str | None, list[dict[str, Any]]] = {}
        if isinstance(keys, Mapping) and "keys" in keys and isinstance(keys["keys"], list):
            self._add_set(keys["keys"])
        elif isinstance(keys, Mapping) and "kty" in keys:
            self._add(keys.get("kid"), self._of_jwk(keys))
        elif isinstance(keys, Mapping):
            for kid, key in keys.items():
                self._add(str(kid), self._of_jwk(key) if isinstance(key, Mapping) else self._of_text(key))
        else:
            self._add(None, self._of_text(keys))
        if not self._keys:
            raise ValueError(f"there is no key for {', '.join(algorithms)}")

    def _add_set(self, keys: Iterable[Any]) -> None:
        """Add those keys of a set that can be used, and pass over others (RFC 7517, section 5)."""
        for key in list(keys)[:MAX_KEYS]:
            if isinstance(key, Mapping) and key.get("use", "sig") == "sig":
                try:
                    self._add(key.get("kid"), self._of_jwk(key))
                except ValueError:
                    continue

    def _add(self, kid: Any, key: dict[str, Any]) -> None:
        self._keys.setdefault(kid if isinstance(kid, str) else None, []).append(key)

    def _of_jwk(self, jwk: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        jwt = pyjwt()
        for name in self._algorithms:
            if jwk.get("alg", name) != name:
                continue
            try:
                key = made[name] = jwt.PyJWK(dict(jwk), name).key
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
            self._check(name, key)
        return self._usable(made)

    def _of_text(self, key: Any) -> dict[str, Any]:
        if not isinstance(key, (str, bytes)):
            raise TypeError(f"a key is text or bytes, not {type(key).__name__}")
        data = key.encode() if isinstance(key, str) else key
        made: dict[str, Any] = {}
        jwt = pyjwt()
        for name in self._algorithms:
            self._check(name, data)
            try:
                made[name] = jwt.algorithms.get_default_algorithms()[name].prepare_key(data)
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
        return self._usable(made)

    def _check(self, name: str, key: Any) -> None:
        least = HMAC_BYTES.get(name)
        if least is not None and isinstance(key, bytes) and len(key) < least:
            raise ValueError(f"a key for {name} has at least {least} bytes (RFC 7518, section 3.2)")

    def _usable(self, made: dict[str, Any]) -> dict[str, Any]:
        if not made:
            raise ValueError(f"a key is none for {', '.join(self._algorithms)}")
        return made

    def has(self, kid: str | None) -> bool:
        """Whether there is a key of that name, or without a name the only one."""
        return kid in self._keys or (kid is None and sum(map(len, self._keys.values())) == 1)

    def find(self, kid: str | None, algorithm: str) -> Any:
        """Return the key that a token names. Raises :class:`Refused`."""
        named = self._keys.get(kid, [])
        if not named and None in self._keys:
            named = self._keys[None]  # a key without a name is for every one
        if not named and kid is None:
            if len(self._keys) > 1:
                raise Refused("it names no key (kid), and there are several")
            named = next(iter(self._keys.values()))
        if not named:
            raise Refused("there is no key (kid) %s", str(kid)[:64])
        for key in named:
            if algorithm in key:
                return key[algorithm]
        raise Refused("its key is not for %s", algorithm)


def keys_of_text(data: bytes, algorithms: Sequence[str]) -> GivenKeys:
    """Return the keys of a file: one in PEM, a secret, a JWK or a set of those. Raises ``ValueError``."""
    text = data.strip()
    if text.startswith(b"{"):
        try:
            return GivenKeys(json.loads(text), algorithms)
        except RecursionError:
            raise ValueError("the JSON is nested too deep") from None
    return GivenKeys(text, algorithms)


class FileKeys:
    """The keys of a file, which is read again within a second after it has changed.

    A file that cannot be used changes nothing, and is told once. Raises ``OSError`` and ``ValueError``.
    """

    def __init__(
        self, path: str, algorithms: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._algorithms = algorithms
        self._clock = clock
        self._mark = self._look()
        self._keys = self._read()
        self._look_at = clock() + LOOK_SECONDS

    def find(self, kid: str | None, algorithm: str) -> Any:
        """Return the key that a token names. Raises :class:`Refused`."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            try:
                mark = self._look()
                if mark != self._mark:
                    self._mark = mark
                    self._keys = self._read()
                    log.info("the keys of %s are read again", self._path)
            except (OSError, ValueError) as error:
                if self._mark is not None or not isinstance(error, FileNotFoundError):
                    log.error("the keys of %s hold on: %s", self._path, error)
                if isinstance(error, FileNotFoundError):
                    self._mark = None
        return self._keys.find(kid, algorithm)

    def _look(self) -> tuple[int, int, int] | None:
        found = os.stat(self._path)
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> GivenKeys:
        with open(self._path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"the file has more than {MAX_FILE_BYTES} bytes")
        return keys_of_text(data, self._algorithms)
