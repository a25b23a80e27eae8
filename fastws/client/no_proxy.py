"""``no_proxy``: which hosts are reached without a proxy, as curl and requests read it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from fastws.protocol.http.addresses import parse_address, parse_network

__all__ = ["bypasses"]

_SEPARATORS = re.compile(r"[,\s]+")
#: A name, an address of IPv4 or one of IPv6 in brackets, each with a port. Bare IPv6 cannot have one.
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]+)")

IP = IPv4Address | IPv6Address


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Return whether an entry of ``no_proxy`` names the host.

    The entries are separated by commas or white space. One is ``*`` for every host, a name for that host and
    those below it, with or without a dot before it, a pattern such as ``*.corp``, an address, or a network
    such as ``10.0.0.0/8``; each but a network may have a port. Case and a final dot do not count. Networks
    are compared with addresses only: no name is resolved for it.
    """
    host = _plain(host)
    address = _as_ip(host)
    return any(_names(entry, host, address, port) for entry in _SEPARATORS.split(no_proxy) if entry)


def _names(entry: str, host: str, address: IP | None, port: int) -> bool:
    if with_port := _WITH_PORT.fullmatch(entry):
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = _plain(entry.replace("[", "").replace("]", ""))
    if "*" in entry:
        return re.fullmatch(".*".join(map(re.escape, entry.split("*"))), host) is not None
    if "/" in entry:
        return address is not None and _holds(entry, address)
    if address is not None:
        return _as_ip(entry) == address
    entry = entry.lstrip(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))


def _plain(name: str) -> str:
    name = name.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name  # which no host is called


def _as_ip(text: str) -> IP | None:
    """Return the address, that of IPv4 where it is mapped into IPv6; None for a name. Without its zone."""
    try:
        return parse_address(text.partition("%")[0])
    except ValueError:
        return None


def _holds(entry: str, address: IP) -> bool:
    try:
        return address in parse_network(entry)
    except ValueError:
        return False
