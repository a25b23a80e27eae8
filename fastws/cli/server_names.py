"""Which of several certificates a client gets: the one that has the server name of its handshake.

The name comes with the first message of TLS (SNI: RFC 6066, section 3) and is compared as clients compare it
with the certificate afterwards (RFC 9525, section 6).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["NamedContext", "ServerNames", "conflicts", "names_in_pem", "normal"]


class NamedContext(NamedTuple):
    """A context, and the names of its certificate as :func:`normal` writes them."""

    context: ssl.SSLContext
    names: Sequence[str] = ()


class ServerNames:
    """Contexts by the names of their certificates. The first one is for all other clients."""

    def __init__(self, entries: Sequence[NamedContext]) -> None:
        self._first = entries[0].context
        self._by_name: dict[str, ssl.SSLContext] = {}
        for context, names in entries:
            for name in names:
                self._by_name.setdefault(name, context)

    def find(self, name: str | None) -> ssl.SSLContext:
        """Return the context for a client that asks for ``name``; None: it has said none.

        A whole name goes before a wildcard, which stands for one label (RFC 9525, section 6.3).
        """
        if name is None or not self._by_name:
            return self._first
        name = normal(name)
        found = self._by_name.get(name)
        if found is None:
            label, _, parent = name.partition(".")
            found = self._by_name.get(f"*.{parent}") if label else None
        return self._first if found is None else found


def normal(name: str) -> str:
    """Return one spelling for all that mean the same: case, the final dot, forms of an IP address.

    International names are A-labels (``xn--``) on both sides: RFC 6066, section 3, and RFC 9525, section 6.3.
    """
    name = name.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def names_in_pem(certificate: bytes) -> list[str]:
    """Return the DNS names and IP addresses of the first certificate in PEM; without any, its common name.

    Raises:
        ValueError: it cannot be read.
    """
    # Only who has several certificates needs this package in memory.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    read = x509.load_pem_x509_certificate(certificate)
    try:
        alternatives = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # RFC 9525 knows no common name as a host, but a certificate without other names is meant so.
        found = [str(each.value) for each in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    else:
        found = [
            *alternatives.get_values_for_type(x509.DNSName),
            *map(str, alternatives.get_values_for_type(x509.IPAddress)),
        ]
    return list(dict.fromkeys(map(normal, found)))


def conflicts(files: Sequence[str], entries: Sequence[NamedContext]) -> list[str]:
    """Return a line for each certificate that is not used for names in it: an earlier one has them."""
    lines = []
    owner: dict[str, str] = {}
    for file, (_, names) in zip(files, entries, strict=True):
        taken: dict[str, list[str]] = {}
        for name in names:
            if name in owner:
                taken.setdefault(owner[name], []).append(name)
            owner.setdefault(name, file)
        for other, both in taken.items():
            lines.append(f"{file} and {other} are both for {', '.join(both)}: clients get {other}")
        if not names and file != files[0]:
            lines.append(f"{file} names no host: no client gets it")
    return lines
