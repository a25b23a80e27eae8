"""URLs of NATS servers: who they are, and how one is let in."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from fastws.pubsub.brokers.redacting import check_encoded

__all__ = ["Server", "Servers"]

DEFAULT_PORT = 4222
#: What stands in a file of credentials, as ``nsc`` writes it.
USER_JWT = re.compile(rb"-+BEGIN NATS USER JWT-+\r?\n[\w.-]+\r?\n")
USER_SEED = re.compile(rb"-+BEGIN USER NKEY SEED-+\r?\n(SU[A-Z2-7]+)\r?\n")
#: In front of the subjects, and in the names of the streams.
PREFIX = re.compile(r"[A-Za-z0-9_-]{1,32}")
KNOWN = ("ca", "cert", "creds", "key", "prefix", "replicas")
WHAT = (
    "a NATS URL is nats://HOST:PORT or tls://HOST:PORT, several with commas between them; "
    "what is special in a user, password or token has to be percent-encoded"
)


@dataclass(frozen=True, slots=True)
class Server:
    """One server."""

    host: str
    port: int
    is_tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Its address, without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.is_tls else 'nats'}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """Its address for nats-py."""
        return self.label


class Servers:
    """The servers of one cluster, any of which will do.

    Args:
        url: One URL, or several with commas between them: ``nats://USER:PASSWORD@HOST:PORT``,
            ``nats://TOKEN@HOST``, ``tls://HOST``. Parameters behind any of them are for all: ``creds=FILE``
            (credentials with a key), ``ca=FILE`` (whose certificates are taken, where TLS is spoken),
            ``cert=FILE`` and ``key=FILE`` (a certificate of one's own, for servers that ask for one),
            ``prefix=NAME`` (default "fastws": what the subjects and streams begin with) and ``replicas=N``
            (default 1: on how many servers of a cluster a stream is).

    Raises:
        ValueError: It is none, or a file cannot be read. The text has no secret.
        ImportError: ``creds=`` needs nkeys, which is not installed.
    """

    def __init__(self, url: str) -> None:
        check_encoded(url)
        self.all: list[Server] = []
        found: dict[str, str] = {}
        for each in url.split(","):
            self.all.append(_server(each.strip(), self.all))
            found.update(_parameters(urlsplit(each.strip()).query))
        self.prefix = found.get("prefix", "fastws")
        if PREFIX.fullmatch(self.prefix) is None:
            raise ValueError("prefix= is up to 32 letters, digits, - and _")
        replicas = found.get("replicas", "1")
        if replicas not in ("1", "2", "3", "4", "5"):
            raise ValueError("replicas= is 1 to 5")
        self.replicas = int(replicas)
        self._creds = _file(found, "creds")
        if self._creds is not None:
            _check_credentials(self._creds)
        self._ca = _file(found, "ca")
        self._cert = _file(found, "cert")
        self._key = _file(found, "key")
        if self._key is not None and self._cert is None:
            raise ValueError("key= needs cert=")
        if self._ca is not None or self._cert is not None:
            self._tls()  # what is wrong with the files is told now

    @property
    def label(self) -> str:
        """Their addresses, without a secret."""
        return ",".join(server.label for server in self.all)

    @property
    def has_certificate(self) -> bool:
        """True where this side has a certificate of its own."""
        return self._cert is not None

    def options(self, server: Server) -> dict[str, Any]:
        """Return what nats-py has to be told for one of them."""
        found: dict[str, Any] = {}
        if server.password is not None:
            found.update(user=server.user, password=server.password)
        elif server.user:
            found["token"] = server.user
        if self._creds is not None:
            found["user_credentials"] = self._creds
        # A server may demand TLS where the URL does not: the files hold there too.
        if server.is_tls or self._ca is not None or self._cert is not None:
            found["tls"] = self._tls()
            found["tls_hostname"] = server.host
        return found

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except ssl.SSLError as error:
            raise ValueError(f"ca={self._ca}: {error.reason or error}") from None
        if self._cert is not None:
            try:
                context.load_cert_chain(self._cert, self._key, "")  # nobody is asked for one
            except ssl.SSLError as error:
                raise ValueError(f"cert={self._cert}: {error.reason or error}") from None
        return context


def _server(url: str, before: list[Server]) -> Server:
    if "://" not in url and before:
        if "@" in url and before[0].user is None:  # the comma is one of a password
            raise ValueError(WHAT)
        url = ("tls://" if before[0].is_tls else "nats://") + url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(WHAT) from None
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path.strip("/"):
        raise ValueError(WHAT)
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if user is None and before:
        user, password = before[0].user, before[0].password
    return Server(parts.hostname, port or DEFAULT_PORT, parts.scheme == "tls", user, password)


def _parameters(query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    for name in found:
        if name not in KNOWN:
            raise ValueError(f"a NATS URL has no parameter {name[:40]!r}; there are {', '.join(KNOWN)}")
    return found


def _file(found: dict[str, str], name: str) -> str | None:
    path = found.get(name)
    if path is None:
        return None
    try:
        with Path(path).open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{name}={path}: {error.strerror}") from None


def _check_credentials(path: str) -> None:
    """Raise ``ValueError`` where a file has no user's key, and ``ImportError`` where nkeys is missing."""
    try:
        import nkeys
    except ImportError as error:
        text = f"creds= needs nkeys: pip install 'fastws-server[nats]' ({error})"
        raise ImportError(text) from None
    data = Path(path).read_bytes()
    seed = USER_SEED.search(data)
    try:
        if USER_JWT.search(data) is None or seed is None:
            raise ValueError
        nkeys.from_seed(bytearray(seed[1])).wipe()
    except Exception:
        # Whatever nkeys says: it may name the seed.
        raise ValueError(
            f"creds={path}: this is no file of credentials, with a user's JWT and seed"
        ) from None
