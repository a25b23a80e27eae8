"""Limits on the connections of one address, and on its handshakes in a second; both are off by default."""

from __future__ import annotations

from typing import Any

from fastws.protocol.http.addresses import parse_address
from fastws.protocol.websocket.rate_limit import Window

__all__ = ["AddressLimiter", "address_of"]

#: Addresses whose handshakes are counted before those whose second is over are forgotten.
SWEEP_SIZE = 1024


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


class AddressLimiter:
    """Counts the open connections of each address, and its handshakes in the current second."""

    __slots__ = (
        "_by_request",
        "_connections",
        "_handshakes",
        "_max_connections",
        "_max_handshakes",
        "_of",
        "_sweep_at",
        "is_limiting",
    )

    def __init__(self, connections: int | None, handshakes: int | None) -> None:
        self._max_connections = connections
        self._max_handshakes = handshakes
        #: False when there is no limit: nobody needs to ask then.
        self.is_limiting = connections is not None or handshakes is not None
        self._of: dict[Any, str] = {}
        #: Connections that are counted for the peer of one request.
        self._by_request: set[Any] = set()
        self._connections: dict[str, int] = {}
        self._handshakes: dict[str, Window] = {}
        self._sweep_at = SWEEP_SIZE

    def enter(self, connection: Any, peer: Any) -> bool:
        """Count an open connection for its peer, once; False, and not counted, when it is one too many."""
        address = address_of(peer)
        if self._max_connections is None or address is None or connection in self._of:
            return True
        count = self._connections.get(address, 0)
        if count >= self._max_connections:
            return False
        self._of[connection] = address
        self._connections[address] = count + 1
        return True

    def begin_request(self, connection: Any, peer: Any) -> bool:
        """Count a request for its peer until :meth:`end_request`; False when it is one too many.

        A connection that :meth:`enter` has counted stays with its own peer. Only that of a trusted proxy
        was not, and it brings requests of many peers.
        """
        if connection in self._of:
            return True
        if not self.enter(connection, peer):
            return False
        if connection in self._of:
            self._by_request.add(connection)
        return True

    def end_request(self, connection: Any) -> None:
        """The request has its answer: its peer has one connection less, where it was counted for it."""
        if connection in self._by_request:
            self.leave(connection)

    def leave(self, connection: Any) -> None:
        """Stop to count a connection; does nothing for one that was never counted."""
        self._by_request.discard(connection)
        address = self._of.pop(connection, None)
        if address is None:
            return
        count = self._connections[address] - 1
        if count:
            self._connections[address] = count
        else:
            del self._connections[address]

    def shake_hands(self, peer: Any, now: float) -> bool:
        """Count a request to upgrade; False when it is one too many in this second."""
        address = address_of(peer)
        if self._max_handshakes is None or address is None:
            return True
        window = self._handshakes.get(address)
        if window is None:
            if len(self._handshakes) >= self._sweep_at:
                self._sweep(now)
            window = self._handshakes[address] = Window(self._max_handshakes)
        return window.take(1, now) == 1

    def _sweep(self, now: float) -> None:
        """Forget the seconds that are over. The next sweep is due at twice what stays, so all are linear."""
        self._handshakes = {
            address: window for address, window in self._handshakes.items() if not window.over(now)
        }
        self._sweep_at = max(SWEEP_SIZE, 2 * len(self._handshakes))
