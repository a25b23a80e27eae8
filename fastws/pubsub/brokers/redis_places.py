"""Where a Redis is: what a URL says, and connections to whoever is the master there now.

- ``redis://[USER][:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` over TLS, ``redis+unix:///PATH``: one
server. - ``redis+sentinel://[USER][:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/MASTER[/DATABASE]``: the master
that these
  sentinels name. ``sentinel_username`` and ``sentinel_password`` are parameters for the sentinels themselves.

Parameters behind ``?`` are those of redis-py (``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ...).
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from fastws.pubsub.brokers.base import redacted

__all__ = ["OneServer", "Place", "Sentinels", "place_at"]

#: What we do ourselves: the library waits for nothing but the connection, and tries nothing twice.
OPTIONS: dict[str, Any] = {"socket_timeout": None, "protocol": 2, "health_check_interval": 0}
SENTINEL_PORT = 26379
#: What a sentinel has to answer.
SENTINEL_SECONDS = 2.0


class Place:
    """Makes connections that are not connected yet."""

    async def connection(self) -> AbstractConnection:
        """Return one to who is the master now. Raises what redis-py does."""
        raise NotImplementedError


class OneServer(Place):
    """One server.

    Args:
        url: Of redis-py: ``redis://``, ``rediss://`` or ``unix://``.
    """

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        self._class = options.pop("connection_class", Connection)
        self._options = {**options, **OPTIONS}
        self._make()  # so that a parameter that is none is told now

    def _make(self) -> AbstractConnection:
        found: AbstractConnection = self._class(**self._options, retry=Retry(NoBackoff(), 0))
        return found

    async def connection(self) -> AbstractConnection:
        return self._make()


class Sentinels(Place):
    """Whoever these sentinels say.

    Args:
        addresses: Theirs.
        master: What they call it.
        options: Of a connection to it.
        sentinel_options: Of one to a sentinel.
        is_tls: Whether all of this is over TLS.
    """

    def __init__(
        self,
        addresses: list[tuple[str, int]],
        master: str,
        options: dict[str, Any],
        sentinel_options: dict[str, Any],
        *,
        is_tls: bool,
    ) -> None:
        self._addresses = addresses
        self._master = master
        self._options = options
        self._sentinel_options = sentinel_options | ({"ssl": True} if is_tls else {})
        self._class = SSLConnection if is_tls else Connection

    async def connection(self) -> AbstractConnection:
        seconds = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
        options = {**self._sentinel_options, **seconds, "retry": Retry(NoBackoff(), 0)}
        sentinel: Any = Sentinel(self._addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinel.discover_master(self._master)
        finally:
            await asyncio.gather(*[each.aclose() for each in sentinel.sentinels])
        found: AbstractConnection = self._class(
            host=host, port=port, **self._options, **OPTIONS, retry=Retry(NoBackoff(), 0)
        )
        return found


def place_at(url: str) -> Place:
    """Return where a URL leads. Raises ``ValueError`` for one that leads nowhere."""
    scheme, _, rest = url.partition("://")
    if scheme.endswith("+sentinel"):
        return _sentinels(url, is_tls=scheme.startswith("rediss"))
    if scheme == "redis+unix":
        return OneServer(f"unix://{rest}")
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError("it names no host")
        if parts.path.strip("/") and not parts.path.strip("/").isdigit():
            raise ValueError(f"{parts.path!r} is no number of a database")
        return OneServer(url)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{redacted(url)}: {error}") from None


def _sentinels(url: str, *, is_tls: bool) -> Sentinels:
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not hosts or not master:
        raise ValueError(f"{redacted(url)} is no redis+sentinel://HOST:PORT,HOST:PORT/MASTER")
    try:
        addresses = [_address(each) for each in hosts.split(",")]
        # redis-py reads user, password, database and parameters.
        head = f"{user}@" if user else ""
        options = dict(parse_url(f"redis://{head}host/{database}?{parts.query}"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{redacted(url)}: {error}") from None
    options.pop("host")
    names = {"sentinel_username": "username", "sentinel_password": "password"}
    given = dict(parse_qsl(parts.query))
    for name in names:
        options.pop(name, None)
    sentinel_options = {own: given[name] for name, own in names.items() if name in given}
    return Sentinels(addresses, master, options, sentinel_options, is_tls=is_tls)


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return parts.hostname, parts.port or SENTINEL_PORT
