"""The address and scheme that a trusted proxy names: X-Forwarded-For and X-Forwarded-Proto."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from fastws.protocol.http.messages import Request

__all__ = ["TrustedProxies", "forwarded"]


class TrustedProxies:
    """Addresses and networks (``127.0.0.1``, ``10.0.0.0/8``), or ``*`` for every peer.

    Raises ``ValueError`` for what is neither. A Unix socket's peer is trusted when any is.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        names = [name.strip() for name in trusted if name.strip()]
        self._all = "*" in names
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(name, strict=False) for name in names if name != "*"
        ]

    def __contains__(self, host: object) -> bool:
        if self._all:
            return True
        try:
            address = ip_address(str(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def forwarded(request: Request, trusted: TrustedProxies) -> bool:
    """Set ``request.peer`` and ``request.scheme`` to those of the nearest hop that is not trusted.

    The list of hops is read from the right: each trusted hop vouches for the address left of it. Returns
    True when the peer has changed.
    """
    peer = request.peer
    host = peer[0] if isinstance(peer, tuple) and peer else None
    if host is not None and host not in trusted:
        return False
    protocol = (request.headers.get("x-forwarded-proto") or "").strip().lower()
    if protocol in ("http", "https", "ws", "wss"):
        secure = protocol in ("https", "wss")
        request.scheme = ("wss" if secure else "ws") if request.upgrade else ("https" if secure else "http")
    hops = [hop.strip() for value in request.headers.get_list("x-forwarded-for") for hop in value.split(",")]
    found = False
    for hop in reversed(hops):
        if not _is_address(hop):
            break
        request.peer = (hop, 0)
        found = True
        if hop not in trusted:
            break
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
