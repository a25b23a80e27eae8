"""Listeners and connections in memory, for any event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from fastws.testing.transport import MemoryTransport

__all__ = ["Listener", "ListeningSocket", "Network"]

Factory = Callable[[], Any]


class ListeningSocket:
    """The methods of a listening socket that a server calls."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self._address = address
        self.family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET

    def getsockname(self) -> tuple[str, int] | str:
        return self._address


class Listener:
    """The ``asyncio.Server`` of a :class:`Network`; ``accept`` makes a scripted connection to it."""

    def __init__(self, network: Network, factory: Factory, sock: ListeningSocket, ssl: object) -> None:
        self._network = network
        self._factory = factory
        self._ssl = ssl
        self._serving = True
        self._socket = sock

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """The one socket; empty once closed."""
        return (self._socket,) if self._serving else ()

    def is_serving(self) -> bool:
        """True until it is closed."""
        return self._serving

    def close(self) -> None:
        """Give the address back; connections stay."""
        if self._serving:
            self._serving = False
            del self._network.listeners[self._socket.getsockname()]

    async def wait_closed(self) -> None:
        """Return at once."""

    def accept(self, **options: Any) -> MemoryTransport:
        """Return the server's end of a new connection.

        Args:
            options: Keyword arguments of :class:`MemoryTransport`.
        """
        if self._ssl is not None:
            options.setdefault("ssl_object", self._ssl)
        if self._socket.family == socket.AF_UNIX:
            options.setdefault("peername", "")
        transport = MemoryTransport(self._network.loop, self._factory(), **options)
        transport.start()
        return transport


class Network:
    """The listeners and connections in memory of one loop.

    Args:
        loop: The loop. A :class:`ManualLoop` has a network already; ``install`` makes a real one use this.
        capacity: Bytes that each end of a connection holds unread. Default 256 KiB.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, capacity: int = 256 * 1024) -> None:
        self.loop = loop
        self.listeners: dict[object, Listener] = {}
        #: The ends of joined connections, (client's, server's), in the order in which they were made.
        self.connections: list[tuple[MemoryTransport, MemoryTransport]] = []
        #: Bytes that each end of a joined connection holds unread.
        self.capacity = capacity

    def install(self) -> None:
        """Replace the methods by which the loop listens and connects. There is no way back."""
        for name in ("create_server", "create_unix_server", "create_connection", "create_unix_connection"):
            setattr(self.loop, name, getattr(self, name))
        setattr(self.loop, "getaddrinfo", self.getaddrinfo)  # noqa: B010

    # -- listening ------------------------------------------------------------------------------

    async def create_server(
        self,
        protocol_factory: Factory,
        host: str | None = None,
        port: int = 0,
        *,
        sock: ListeningSocket | None = None,
        ssl: object = None,
        **options: Any,
    ) -> Listener:
        """As ``loop.create_server``, with any host. Raises ``OSError`` for an address that is taken."""
        address = (host or "0.0.0.0", port or 49152 + len(self.listeners))
        return self._listen(protocol_factory, sock or ListeningSocket(address), ssl)

    async def create_unix_server(
        self,
        protocol_factory: Factory,
        path: str | None = None,
        *,
        sock: ListeningSocket | None = None,
        ssl: object = None,
        **options: Any,
    ) -> Listener:
        """As ``loop.create_unix_server``. Raises ``OSError`` for a path that is taken."""
        return self._listen(protocol_factory, sock or ListeningSocket(path or ""), ssl)

    def _listen(self, factory: Factory, sock: ListeningSocket, ssl: object) -> Listener:
        address = sock.getsockname()
        if address in self.listeners:
            raise OSError(f"{address!r} is taken")
        listener = self.listeners[address] = Listener(self, factory, sock, ssl)
        return listener

    def listener(self, port: int) -> Listener:
        """Return the listener at a port, whatever its host. Raises ``ConnectionRefusedError``."""
        for address, listener in self.listeners.items():
            if isinstance(address, tuple) and address[1] == port:
                return listener
        raise ConnectionRefusedError(f"nobody listens at port {port}")

    # -- connecting -----------------------------------------------------------------------------

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        """Every name is its own, only address."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    async def create_connection(
        self,
        protocol_factory: Factory,
        host: str | None = None,
        port: int = 0,
        *,
        sock: Any = None,
        ssl: object = None,
        **options: Any,
    ) -> tuple[MemoryTransport, Any]:
        """As ``loop.create_connection``; the port alone counts. Raises ``ConnectionRefusedError``."""
        if sock is not None:
            port = sock.getsockname()[1]
        return await self._connect(protocol_factory, self.listener(port), ssl)

    async def create_unix_connection(
        self, protocol_factory: Factory, path: str, *, ssl: object = None, **options: Any
    ) -> tuple[MemoryTransport, Any]:
        """As ``loop.create_unix_connection``. Raises ``FileNotFoundError`` where nothing listens."""
        if path not in self.listeners:
            raise FileNotFoundError(path)
        return await self._connect(protocol_factory, self.listeners[path], ssl)

    async def _connect(
        self, factory: Factory, listener: Listener, ssl: object
    ) -> tuple[MemoryTransport, Any]:
        protocol = factory()
        ours = MemoryTransport(self.loop, protocol, capacity=self.capacity, ssl_object=ssl)
        theirs = listener.accept(capacity=self.capacity)
        ours.join(theirs)
        self.connections.append((ours, theirs))
        ours.start()
        return ours, protocol
