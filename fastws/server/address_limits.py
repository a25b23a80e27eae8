"""Limits on the connections of one address, and on its handshakes in a second; both are off by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastws.protocol.http.addresses import address_of
from fastws.protocol.websocket.rate_limit import Window

__all__ = ["AddressLimiter", "Holdings"]

#: Addresses whose handshakes are counted before those whose second is over are forgotten.
SWEEP_SIZE = 1024


class Holdings(Protocol):
    """What this process and others hold of what they share, by key; see ``fastws.pubsub.bus.holdings``."""

    on_used: Callable[[str, int, float], None] | None

    def of_others(self, key: str) -> int: ...
    def hold(self, key: str, number: int) -> None: ...
    def use(self, key: str, until: float) -> None: ...


class AddressLimiter:
    """Counts the open connections of each address, and its handshakes in the current second."""

    __slots__ = (
        "_by_request",
        "_connections",
        "_handshakes",
        "_holdings",
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
        #: Where the limits count for several processes.
        self._holdings: Holdings | None = None

    def share(self, holdings: Holdings, time: Callable[[], float]) -> None:
        """Count what other processes hold too, and tell them of ours; ``time`` is the loop's clock."""
        self._holdings = holdings
        holdings.on_used = lambda address, count, ends: self._others_shook_hands(address, count, ends, time())

    def enter(self, connection: Any, peer: Any) -> bool:
        """Count an open connection for its peer, once; False, and not counted, when it is one too many."""
        address = address_of(peer)
        if self._max_connections is None or address is None or connection in self._of:
            return True
        count = self._connections.get(address, 0)
        others = 0 if self._holdings is None else self._holdings.of_others(address)
        if count + others >= self._max_connections:
            return False
        self._of[connection] = address
        self._connections[address] = count + 1
        if self._holdings is not None:
            self._holdings.hold(address, count + 1)
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
        if self._holdings is not None:
            self._holdings.hold(address, count)

    def shake_hands(self, peer: Any, now: float) -> bool:
        """Count a request to upgrade; False when it is one too many in this second."""
        address = address_of(peer)
        if self._max_handshakes is None or address is None:
            return True
        window = self._window(address, now, self._max_handshakes)
        if not window.take(1, now):
            return False
        if self._holdings is not None:
            self._holdings.use(address, window.ends)
        return True

    def _others_shook_hands(self, address: str, count: int, ends: float, now: float) -> None:
        if self._max_handshakes is not None:
            self._window(address, now, self._max_handshakes).share(count, ends, now)

    def _window(self, address: str, now: float, limit: int) -> Window:
        window = self._handshakes.get(address)
        if window is None:
            if len(self._handshakes) >= self._sweep_at:
                self._sweep(now)
            window = self._handshakes[address] = Window(limit)
        return window

    def _sweep(self, now: float) -> None:
        """Forget the seconds that are over. The next sweep is due at twice what stays, so all are linear."""
        self._handshakes = {
            address: window for address, window in self._handshakes.items() if not window.over(now)
        }
        self._sweep_at = max(SWEEP_SIZE, 2 * len(self._handshakes))
