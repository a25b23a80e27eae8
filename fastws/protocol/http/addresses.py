"""Addresses of peers, and names of hosts, as values."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

__all__ = ["address_of", "parse_address", "parse_network", "unmapped", "wildcards"]

#: Characters of the longest name of a host (RFC 1035, section 2.3.4).
MAX_NAME_LENGTH = 253


def parse_address(given: str | bytes) -> IPv4Address | IPv6Address:
    """Return the IP address of a text or of packed bytes.

    It is the IPv4 address where IPv6 only carries one (RFC 4291, section 2.5.5.2).

    Raises ``ValueError`` for what is none.
    """
    address = ip_address(given)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Return a network, or that of one address; the IPv4 network where IPv6 only carries one.

    Raises ``ValueError`` for what is none.
    """
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def unmapped(name: Any) -> Any:
    """Return a socket's name; IPv4's ``(host, port)`` where a dual-stack socket says ``::ffff:192.0.2.1``."""
    if isinstance(name, tuple) and len(name) >= 2 and str(name[0]).startswith("::ffff:"):
        try:
            return (str(parse_address(name[0])), name[1])
        except ValueError:
            return name
    return name


def address_of(peer: Any) -> str | None:
    """Return the text under which a peer is counted; None for one without an address, as at a Unix socket.

    IPv6 is counted by its first 64 bits: whoever has one such address has all of them.
    """
    if not isinstance(peer, tuple) or not peer:
        return None
    try:
        address = parse_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return None
    return str(address) if address.version == 4 else address.packed[:8].hex()


def wildcards(name: str) -> Iterator[str]:
    """Yield the patterns that match the name of a host, such as ``*.b.example`` for ``a.b.example``."""
    if len(name) <= MAX_NAME_LENGTH:
        dot = name.find(".")
        while dot >= 0:
            yield "*" + name[dot:]
            dot = name.find(".", dot + 1)
