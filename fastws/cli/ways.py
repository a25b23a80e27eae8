"""How each listener accepts: its certificates, a PROXY header in front, and the routes that it serves."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from fastws.cli.certificates import Certificate, Certificates
from fastws.cli.config_tables import tables
from fastws.cli.listeners import ListenAddress, parse_address
from fastws.cli.secret_files import key_password
from fastws.cli.server_names import NamedContext
from fastws.cli.tls import names_in, pairs_of, server_context
from fastws.server.acceptor import Acceptor
from fastws.server.forwarded import TrustedProxies

__all__ = ["Ways", "listener_addresses", "listener_options", "make_certificates"]


def listener_addresses(options: Mapping[str, Any]) -> list[ListenAddress]:
    """Return the addresses of the tables. Raises `click.UsageError` where options name others as well."""
    for name in ("bind", "uds", "fd"):
        if options[name] not in (None, ()):
            raise click.UsageError(f"--{name} does not go with the [[listeners]] of the file")
    context = click.get_current_context()
    for name in ("host", "port"):
        if context.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP):
            raise click.UsageError(f"--{name} does not go with the [[listeners]] of the file")
    addresses = []
    for table in tables(options)["listeners"]:
        try:
            addresses.append(parse_address(table["values"]["bind"]))
        except click.UsageError as error:
            raise click.UsageError(f"{table['places']['bind']}: {error.message}") from None
    return addresses


def listener_options(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the options of each listener: those of the command, with what its table says.

    Without tables one, for all listeners. ``routes`` are the paths that it serves, None for all.
    """
    found = []
    for table in tables(options)["listeners"]:
        values = table["values"]
        own = {name: value for name, value in values.items() if name not in ("bind", "tls")}
        if values.get("tls") is False:
            own |= NO_TLS
        found.append({**options, "routes": None, **own})
    return found or [{**options, "routes": None}]


#: The options of TLS as they are where nothing is said of it.
NO_TLS: dict[str, Any] = {
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_keyfile_password": None,
    "ssl_keyfile_password_file": None,
    "ssl_ca_certs": None,
    "ssl_cert_reqs": 0,
    "ssl_ciphers": None,
}


class Ways:
    """How the listeners of a server accept, each in the order of its address.

    Args:
        options: those of the command.

    Raises `CannotStart` and `click.UsageError` for certificates that cannot be used.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = listener_options(options)
        self._certificates: list[Certificates | None] = []
        made: dict[str, Certificates | None] = {}
        for each in self._options:
            key = repr([each[name] for name in NO_TLS])
            if key not in made:
                made[key] = make_certificates(each)
            self._certificates.append(made[key])
        #: Those of all listeners, each once.
        self.certificates = [each for each in made.values() if each is not None]

    def number(self, listener: int) -> int:
        """Return which of :meth:`arguments` is for a listener: without tables there is one for all."""
        return min(listener, len(self._options) - 1)

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS of the first listener, for what has no table; None: plain HTTP."""
        first = self._certificates[0]
        return None if first is None else first.context

    @property
    def scheme(self) -> str:
        """``http`` or ``https`` of the first listener."""
        return self.schemes[0]

    @property
    def schemes(self) -> list[str]:
        """``http`` or ``https`` of each."""
        return ["http" if each is None else "https" for each in self._certificates]

    def conflicts(self) -> list[str]:
        """Return a line for each certificate that clients cannot get by a name in it."""
        return [line for each in self.certificates for line in each.conflicts()]

    def arguments(
        self, make_acceptor: Callable[[TrustedProxies | None], Acceptor | None]
    ) -> list[dict[str, Any]]:
        """Return what `Server.listen` is to be told of each, beside its socket."""
        acceptors: dict[bool, Acceptor | None] = {}
        found = []
        for each, certificates in zip(self._options, self._certificates, strict=True):
            proxied = bool(each["proxy_protocol"])
            if proxied not in acceptors:
                proxies = TrustedProxies(each["forwarded_allow_ips"]) if proxied else None
                acceptors[proxied] = make_acceptor(proxies)
            found.append(
                {
                    "ssl": None if certificates is None else certificates.context,
                    "backlog": each["backlog"],
                    "acceptor": acceptors[proxied],
                    "routes": each["routes"],
                }
            )
        return found

    def let_speak(self, speaks: Callable[[], bool]) -> None:
        """Have the certificates say what is wrong with their files only where ``speaks()`` is true."""
        for each in self.certificates:
            each.speaks = speaks

    def reload(self) -> None:
        """Read the files of all certificates again."""
        for each in self.certificates:
            each.reload()

    def watched(self, serving: Coroutine[Any, Any, int]) -> Coroutine[Any, Any, int]:
        """Look at the files while ``serving`` runs; its result is that of ``serving``."""
        for each in self.certificates:
            serving = each.watched(serving)
        return serving


def make_certificates(options: dict[str, Any]) -> Certificates | None:
    """The certificates that ``--ssl-certfile`` and its companions name, renewed when their files change."""
    certfiles, ca_certs = options["ssl_certfile"], options["ssl_ca_certs"]
    if not certfiles:
        for name in ("keyfile", "keyfile_password_file", "ca_certs", "cert_reqs", "ciphers"):
            if options[f"ssl_{name}"]:
                raise click.UsageError(f"--ssl-{name.replace('_', '-')} needs --ssl-certfile")
        return None
    cert_reqs = options["ssl_cert_reqs"]
    if cert_reqs and ca_certs is None:
        raise click.UsageError("--ssl-cert-reqs needs --ssl-ca-certs, the authorities of the clients")
    if ca_certs is not None and not cert_reqs:
        raise click.UsageError("--ssl-ca-certs checks no client without --ssl-cert-reqs 1 or 2")
    pairs = pairs_of(certfiles, options["ssl_keyfile"])
    password = key_password(options)

    def made(certfile: str, keyfile: str | None) -> NamedContext:
        context = server_context(
            certfile,
            keyfile,
            password,
            ca_certs=ca_certs,
            cert_reqs=cert_reqs,
            ciphers=options["ssl_ciphers"],
        )
        return NamedContext(context, names_in(certfile) if len(pairs) > 1 else ())

    return Certificates(
        [
            Certificate(partial(made, *pair), [path for path in (*pair, ca_certs) if path is not None])
            for pair in pairs
        ]
    )
