"""Where a Redis is: what a URL says, and connections to whoever is the master there now.

- ``redis://[USER][:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` over TLS, ``redis+unix:///PATH``: one
  server.
- ``redis+cluster://[USER][:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]``: all masters of the cluster to which
these
  nodes belong.
- ``redis+sentinel://[USER][:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/MASTER[/DATABASE]``: the master that these
  sentinels name. ``sentinel_username`` and ``sentinel_password`` are parameters for the sentinels themselves.

Parameters behind ``?`` are those of redis-py (``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ...).
"""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, InvalidResponse, RedisError

from fastws.pubsub.brokers.redacting import check_encoded, redacted
from fastws.pubsub.brokers.redis_bounds import SLOTS_BYTES, BoundedParser, allow
from fastws.pubsub.brokers.redis_server import FAILURES, words_of_connecting

__all__ = ["Cluster", "Layout", "NoMaster", "OneServer", "Place", "Sentinels", "place_at"]

#: What we do ourselves: the library waits for nothing but the connection, and tries nothing twice.
OPTIONS: dict[str, Any] = {
    "socket_timeout": None,
    "protocol": 2,
    "health_check_interval": 0,
    "parser_class": BoundedParser,
}
REDIS_PORT, SENTINEL_PORT = 6379, 26379
#: Older versions of redis-py leave the password of a key to OpenSSL, which asks the terminal.
TAKES_PASSWORD = "ssl_password" in inspect.signature(SSLConnection.__init__).parameters
#: Parameters that name a file.
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Of a cluster.
SLOTS = 16384
#: Within which a sentinel has to be there, and to answer: one without TLS may be silent.
SENTINEL_SECONDS, ANSWER_SECONDS = 2.0, 3.0
#: Within which a server has to agree on TLS.
TLS_SECONDS = 3.0


#: What a sentinel says of a master that is none now.
DOWN = {b"s_down", b"o_down"}


class NoMaster(RedisError):
    """No sentinel names a master. The text says of each why."""


class Layout(NamedTuple):
    """Which servers there are, and which of them has a slot of a cluster."""

    servers: list[Place]
    #: By slot: the index of its server. None: there is one server for everything.
    slots: list[int] | None = None

    def place_of(self, key: str) -> int:
        """Return the index of the server that has a key or channel."""
        return 0 if self.slots is None else self.slots[key_slot(key.encode())]


class Place:
    """Makes connections that are not connected yet."""

    is_tls = False
    #: The number of its database.
    database = 0
    #: Whether this side has one of its own.
    has_certificate = False

    async def connection(self) -> AbstractConnection:
        """Return one to who is the master now. Raises what redis-py does."""
        raise NotImplementedError

    async def layout(self) -> Layout:
        """Return which servers there are now. Raises what redis-py does."""
        return Layout([self])


class OneServer(Place):
    """One server.

    Args:
        url: Of redis-py: ``redis://``, ``rediss://`` or ``unix://``.
    """

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        self._class = options.pop("connection_class", Connection)
        self.is_tls = self._class is SSLConnection
        self.database = options.get("db") or 0
        self._options = _checking(options, is_tls=self.is_tls)
        self.has_certificate = "ssl_certfile" in self._options
        _made(self._class, self._options)  # so that a parameter that is none is told now

    async def connection(self) -> AbstractConnection:
        return _made(self._class, self._options)


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
        self.database = options.get("db") or 0
        self._options = options
        self._sentinel_options = sentinel_options | {"socket_connect_timeout": SENTINEL_SECONDS}
        self._class = SSLConnection if is_tls else Connection
        self.is_tls = is_tls
        self.has_certificate = "ssl_certfile" in options
        for each in (self._options, self._sentinel_options):
            _made(self._class, each)  # so that a parameter that is none is told now

    async def connection(self) -> AbstractConnection:
        reasons = []
        for address in self._addresses:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    host, port = await self._ask(*address)
            except TimeoutError:
                reason = "no answer"
            except NoMaster as error:
                reason = str(error)
            except FAILURES as error:
                reason = words_of_connecting(error, is_tls=self.is_tls, has_certificate=self.has_certificate)
            else:
                return _made(self._class, {**self._options, "host": host, "port": port})
            reasons.append(f"{address[0]}:{address[1]}: {reason}")
        raise NoMaster(f"No master found for {self._master!r}: {'; '.join(reasons)}")

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        """Return the master that a sentinel knows. Raises :class:`NoMaster`, and what redis-py does."""
        sentinel: Any = _made(self._class, {**self._sentinel_options, "host": host, "port": port})
        try:
            await sentinel.connect()
            await sentinel.send_command("SENTINEL", "MASTERS", check_health=False)
            for each in await sentinel.read_response(disconnect_on_error=False):
                known = dict(zip(each[::2], each[1::2], strict=True))
                if known[b"name"].decode() == self._master:
                    if DOWN & set(known[b"flags"].split(b",")):
                        raise NoMaster("that master is down")
                    return known[b"ip"].decode(), int(known[b"port"])
        except (TypeError, KeyError, IndexError) as error:
            raise InvalidResponse(str(error)) from None
        finally:
            await sentinel.disconnect(nowait=True)
        raise NoMaster("it knows no master of that name")


class Cluster(Place):
    """All masters of a cluster.

    Args:
        addresses: Some of its nodes.
        options: Of a connection to each.
        is_tls: Whether all of this is over TLS.
    """

    def __init__(self, addresses: list[tuple[str, int]], options: dict[str, Any], *, is_tls: bool) -> None:
        self._addresses = addresses
        self._options = options
        self._class = SSLConnection if is_tls else Connection
        self.is_tls = is_tls
        self.has_certificate = "ssl_certfile" in options
        _made(self._class, options)  # so that a parameter that is none is told now

    def _node(self, host: str, port: int) -> Node:
        return Node(self._class, {**self._options, "host": host, "port": port})

    async def layout(self) -> Layout:
        failure: Exception | None = None
        for host, port in self._addresses:
            node: Any = await self._node(host, port).connection()
            try:
                await node.connect()
                allow(node, SLOTS_BYTES)
                await node.send_command("CLUSTER", "SLOTS", check_health=False)
                return self._read(await node.read_response(disconnect_on_error=False), host)
            except (RedisError, OSError) as error:
                failure = error
            finally:
                await node.disconnect(nowait=True)
        assert failure is not None
        raise failure

    def _read(self, answer: Any, host: str) -> Layout:
        servers: dict[tuple[str, int], int] = {}
        slots = [-1] * SLOTS
        for first, last, master, *_ in answer:
            address = master[0].decode() if master[0] else host, int(master[1])
            index = servers.setdefault(address, len(servers))
            slots[first : last + 1] = [index] * (last + 1 - first)
        if -1 in slots:
            raise ClusterDownError("CLUSTERDOWN not all slots are served")
        return Layout([self._node(*address) for address in servers], slots)


class Node(Place):
    """One node of a cluster."""

    def __init__(self, kind: Any, options: dict[str, Any]) -> None:
        self._class = kind
        self._options = options

    async def connection(self) -> AbstractConnection:
        return _made(self._class, self._options)


def _made(kind: Any, options: dict[str, Any]) -> AbstractConnection:
    """Return a connection. Raises ``ValueError`` for a parameter that redis-py has not, or that is ours."""
    try:
        found: AbstractConnection = kind(**{**options, **OPTIONS}, retry=Retry(NoBackoff(), 0))
    except TypeError as error:
        name = re.search(r"keyword argument '(\w+)'", str(error))
        raise ValueError(f"it has no parameter {name[1]!r}" if name else str(error)) from None
    return found


def place_at(url: str) -> Place:
    """Return where a URL leads. Raises ``ValueError`` for one that leads nowhere."""
    check_encoded(url)
    scheme, _, rest = url.partition("://")
    is_tls = scheme.startswith("rediss")
    parts = _parts(url)
    try:
        if scheme.endswith("+sentinel"):
            return _sentinels(url, is_tls=is_tls)
        if scheme.endswith("+cluster"):
            addresses, _, options = _several(url)
            return Cluster(addresses, options, is_tls=is_tls)
        if scheme == "redis+unix":
            return OneServer(f"unix://{rest}")
        if not parts.hostname:
            raise ValueError("it names no host")
        if parts.path.strip("/") and not parts.path.strip("/").isdigit():
            raise ValueError(f"{parts.path!r} is no number of a database")
        return OneServer(url)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{redacted(url)}: {error}") from None


def _several(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Return the addresses of a URL, the first part of its path, and redis-py's options of a connection."""
    parts = _parts(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    port = SENTINEL_PORT if "+sentinel" in parts.scheme else REDIS_PORT
    addresses = [_address(each, port) for each in hosts.split(",")]
    # redis-py reads user, password, database and parameters.
    head = f"{user}@" if user else ""
    options = dict(parse_url(f"redis://{head}host/{database}?{parts.query}"))
    options.pop("host")
    return addresses, name, _checking(options, is_tls=parts.scheme.startswith("rediss"))


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its text may have the password
        raise ValueError(
            f"{redacted(url)}: it is no URL, or something in it has to be percent-encoded"
        ) from None


def _checking(options: dict[str, Any], *, is_tls: bool) -> dict[str, Any]:
    """Return options that have the name of a TLS server checked: not all versions of redis-py do by default.

    Raises:
        ValueError: A file that they name cannot be read.
    """
    if not is_tls:
        return options
    for name in FILES:
        if name in options:
            _check_file(name, options[name])
    checking = {} if options.get("ssl_cert_reqs") == "none" else {"ssl_check_hostname": True}
    # A password that is missing is no question to the terminal.
    password = {"ssl_password": ""} if TAKES_PASSWORD else {}
    return {"socket_connect_timeout": TLS_SECONDS} | password | checking | options


def _check_file(name: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ValueError(f"{name}={path}: {error.strerror}") from None
    if b"-----BEGIN " not in text:
        raise ValueError(f"{name}={path}: it is no PEM file")
    if b"ENCRYPTED" in text and not TAKES_PASSWORD:
        raise ValueError(f"{name}={path}: it has a password, which needs a newer version of redis-py")


def _sentinels(url: str, *, is_tls: bool) -> Sentinels:
    addresses, master, options = _several(url)
    if not master:
        raise ValueError("it is no redis+sentinel://HOST:PORT,HOST:PORT/MASTER")
    names = {"sentinel_username": "username", "sentinel_password": "password"}
    given = {own: options.pop(name) for name, own in names.items() if name in options}
    given |= {each: value for each, value in options.items() if each.startswith("ssl_")}
    return Sentinels(addresses, master, options, given, is_tls=is_tls)


def _address(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return parts.hostname, parts.port or port
