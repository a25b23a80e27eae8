"""The names under which a server may be asked: ``Host`` (RFC 9110, section 7.2) against a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

from fastws.protocol.http.addresses import wildcards

__all__ = ["is_allowed_host", "parse_host", "parse_hosts"]

#: A name or an address, and a port.
HOST = re.compile(r"([0-9a-z._-]++|\[[0-9a-f:.]++\])(:[0-9]{1,5})?")


def parse_host(text: str) -> str:
    """Return a host as ``is_allowed_host`` compares it: ``name``, ``name:port``, ``*.suffix`` or ``*``.

    Raises ``ValueError`` for what no Host could ever match.
    """
    host = text.strip().lower()
    if host == "*":
        return host
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    name = host.removeprefix("*.")
    match = HOST.fullmatch(name)
    plain = None if match is None else _plain(match[1])
    port = "" if match is None else match[2] or ""
    pattern = "*." if name != host else ""
    if not plain or ".." in name or name.startswith(".") or (pattern and (port or plain[0] == "[")):
        raise ValueError(f"{text!r} is not a host; write its name, *.suffix for all below it, or * for all")
    return pattern + plain + port


def _plain(name: str) -> str | None:
    """Return a name without its final dot, IPv6 in its shortest form; None for what is neither."""
    if not name.startswith("["):
        return name.removesuffix(".")
    try:
        return f"[{IPv6Address(name[1:-1])}]"
    except ValueError:
        return None


def parse_hosts(given: Iterable[str]) -> frozenset[str]:
    """Return what ``allowed_hosts=`` allows.

    Raises ``TypeError`` for a ``str``, whose letters would be taken for hosts, and as :func:`parse_host`.
    """
    if isinstance(given, str):
        raise TypeError(f"allowed_hosts= is a list of hosts: [{given!r}]")
    return frozenset(parse_host(host) for host in given)


def is_allowed_host(host: str | None, allowed: frozenset[str]) -> bool:
    """True when the value of Host is one of ``allowed``; a host without a port allows every port."""
    if "*" in allowed:
        return True
    match = HOST.fullmatch((host or "").lower())
    if match is None:
        return False
    name, port = _plain(match[1]), match[2] or ""
    if name is None:
        return False
    return name in allowed or name + port in allowed or any(each in allowed for each in wildcards(name))
