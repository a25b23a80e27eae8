"""A server and a client of it, both real, joined in memory on whatever loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Any, Unpack

from fastws.client.connect import connect
from fastws.client.target import Target
from fastws.config import Settings
from fastws.connection.websocket import WebSocket
from fastws.server.serve import serve
from fastws.server.server import Server
from fastws.server.settings import SettingsOptions, settings_from
from fastws.server.site import App
from fastws.testing.clock import Clock
from fastws.testing.loop import ManualLoop
from fastws.testing.network import Network
from fastws.testing.transport import MemoryTransport
from fastws.testing.watch import Watch

__all__ = ["End", "live", "pair"]

#: Seconds that the end of a block waits for clients to close, and then for handlers to end.
GRACE_SECONDS = 0.5


class End:
    """One end of a connection in memory: a test decides how fast it reads, and how it ends.

    Bytes that it does not read fill the space between (256 KiB, or the pair's ``capacity``). Then the other
    end's socket refuses bytes: its peer is slow.

    Args:
        transport: The transport of that end.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport

    def stall(self, room: int = 0) -> None:
        """Read nothing more until ``read``; ``room`` bytes still fit between. Default 0."""
        self.transport.hold_back(room)

    def read(self, count: int | None = None) -> None:
        """After a stall: read ``count`` bytes more, or everything from now on."""
        self.transport.allow(count)

    def read_slowly(self, count: int, seconds: float) -> None:
        """Read at a limited rate, until the connection ends or ``read()`` is called.

        Args:
            count: Bytes of one read.
            seconds: Time between two reads, of the :class:`Clock` if there is one.
        """
        if not self.transport.holds_back:
            self.transport.hold_back(0)
        self._read_again(count, seconds)

    def _read_again(self, count: int, seconds: float) -> None:
        if self.transport.lost or not self.transport.holds_back:
            return
        self.transport.allow(count)
        asyncio.get_running_loop().call_later(seconds, self._read_again, count, seconds)

    def vanish(self, room: int | None = None) -> None:
        """Go without a word, as a machine without power does: the other end sees neither data nor an end.

        Args:
            room: Bytes that the other end can still write before its socket refuses. Default: ``capacity``.
        """
        other = self.transport.other
        if other is not None:
            other.vanish(room)

    def reset(self) -> None:
        """Break the connection: the other end sees ``ConnectionResetError``."""
        other = self.transport.other
        if other is not None:
            other.lose()
        self.transport.lose()

    @property
    def can_close(self) -> bool:
        """True when a close would reach the other end: both ends are there, and read."""
        other = self.transport.other
        return other is not None and not self.transport.holds_back and not other.holds_back


@dataclass(frozen=True, slots=True)
class _MemoryTarget(Target):
    """Leads to a listener in memory, whatever the URL."""

    reach: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None

    async def connect(
        self, loop: Any, factory: Callable[[], Any], address: Any, deadline: float | None = None
    ) -> Any:
        assert self.reach is not None
        return await self.reach(factory)


class _MemoryServer(Server):
    def __init__(self, app: App, settings: Settings, network: Network) -> None:
        super().__init__(app, settings)
        self._network = network

    async def begin(self) -> None:
        await self.startup()
        listener: Any = await self._network.create_server(self._accept, "server.test", 80)
        self._listeners.add(listener)


class pair:
    """A server of ``app`` and a client of it, joined in memory: ``async with pair(app) as ws``.

    ``ws`` is the client's WebSocket. It works on any loop, also beside sockets, and leaves neither tasks nor
    connections: at the end of the block clients close, and handlers that still run half a second later are
    cancelled. A pair may be used again, but not twice at the same time.

    With a name it gives more: ``link = pair(app)``, then ``link.server``, ``link.client_end`` and
    ``link.server_end`` (:class:`End`), ``await link.connect()`` for another client.

    Args:
        app: What :class:`fastws.serve` takes: a handler, a route or a list of routes.
        path: Path and query of the client's URL. Default ``/``.
        client: Keyword arguments of :class:`fastws.connect`, as a mapping. Default: none.
        clock: A :class:`Clock`, the time of both. Default None: real time.
        timeout: Seconds of real time that one wait of the test in the block may take. Default 5; None: no
            limit.
        capacity: Bytes that each end holds unread. Default 256 KiB.
        settings: All other keyword arguments of :class:`fastws.serve` but its addresses and TLS.

    Raises:
        WaitTimeout: A wait in the block took too long; the message says for what.
        HandshakeRefused: The server refused the client, and all else that :class:`fastws.connect` raises.
        RuntimeError: The pair is open already.
    """

    def __init__(
        self,
        app: App,
        path: str = "/",
        *,
        client: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        timeout: float | None = 5.0,
        capacity: int = 256 * 1024,
        **settings: Unpack[SettingsOptions],
    ) -> None:
        self._app = app
        self._path = path
        self._client = dict(client or {})
        self._clock = clock
        self._settings = settings_from(**settings)
        self._capacity = capacity
        self._timeout = timeout
        self._watch = Watch(None)
        self._clients: list[WebSocket] = []
        self._network: Network | None = None
        self._server: _MemoryServer | None = None

    @property
    def server(self) -> Server:
        """The server. ``RuntimeError`` outside of the block."""
        if self._server is None:
            raise RuntimeError("a pair is open inside of its `async with` block only")
        return self._server

    @property
    def client_end(self) -> End:
        """The end of the first client. ``RuntimeError`` when there is none."""
        return End(self._joined(0)[0])

    @property
    def server_end(self) -> End:
        """The server's end of the first client's connection. ``RuntimeError`` when there is none."""
        return End(self._joined(0)[1])

    def ends(self, number: int) -> tuple[End, End]:
        """Return the client's and the server's end of a connection.

        Args:
            number: 0 for the first connection, 1 for the next, in the order of connecting.

        Raises:
            RuntimeError: There is no such connection.
        """
        client, server = self._joined(number)
        return End(client), End(server)

    def _joined(self, number: int) -> tuple[MemoryTransport, MemoryTransport]:
        connections = [] if self._network is None else self._network.connections
        if number >= len(connections):
            raise RuntimeError(f"there is no connection number {number}")
        return connections[number]

    async def connect(self, path: str = "/", **options: Any) -> WebSocket:
        """Return one more client; the end of the pair's block closes it.

        Args:
            path: Path and query of its URL. Default ``/``.
            options: Keyword arguments of :class:`fastws.connect`, which says what is raised.

        Raises:
            RuntimeError: The pair is not open.
        """
        if self._network is None:
            raise RuntimeError("a pair is open inside of its `async with` block only")
        connecting = connect(f"ws://server.test{path}", **options)
        connecting._connector.target = _MemoryTarget(reach=self._reach)
        ws = await connecting
        self._clients.append(ws)
        return ws

    async def _reach(self, factory: Callable[[], Any]) -> Any:
        assert self._network is not None
        _, protocol = await self._network.create_connection(factory, "server.test", 80)
        return protocol

    async def __aenter__(self) -> WebSocket:
        if self._network is not None:
            raise RuntimeError("a pair can be open once at a time")
        loop = asyncio.get_running_loop()
        # On a ManualLoop no wait takes real time.
        self._watch = Watch(None if isinstance(loop, ManualLoop) else self._timeout)
        self._watch.start()
        if self._clock is not None:
            self._clock.__enter__()
        try:
            self._network = Network(loop, capacity=self._capacity)
            self._server = _MemoryServer(self._app, self._settings, self._network)
            await self._server.begin()
            return await self.connect(self._path, **self._client)
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.stop()
        if self._clock is not None:
            self._clock.__exit__()
        try:
            await self._end()
        finally:
            self._network = self._server = None
            self._clients.clear()
        self._watch.check(exc)

    async def _end(self) -> None:
        assert self._network is not None
        if self._clients:
            closing = [asyncio.ensure_future(ws.close()) for ws in self._clients]
            for client, server in self._network.connections:
                if not (End(client).can_close and End(server).can_close):
                    client.abort()
                    server.abort()
            await asyncio.wait(closing, timeout=GRACE_SECONDS)
            for client, _ in self._network.connections:
                client.abort()
            await asyncio.gather(*closing)
        if self._server is not None:
            await self._server.shutdown(GRACE_SECONDS)


class live:
    """A server of ``app`` on a free port of 127.0.0.1: ``async with live(app) as site``.

    For tests that need sockets: another library's client, or another process. The end of the block closes
    all connections, and cancels handlers that still run half a second later.

    Args:
        app: What :class:`fastws.serve` takes.
        ssl: An ``ssl.SSLContext``, for ``wss``. Default None: ``ws``.
        timeout: As in :class:`pair`.
        settings: As in :class:`pair`.

    Raises:
        WaitTimeout: A wait in the block took too long; the message says for what.
    """

    def __init__(
        self,
        app: App,
        *,
        ssl: SSLContext | None = None,
        timeout: float | None = 5.0,
        **settings: Unpack[SettingsOptions],
    ) -> None:
        self._serving = serve(app, "127.0.0.1", ssl=ssl, **settings)
        self._scheme = "ws" if ssl is None else "wss"
        self._watch = Watch(timeout)
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server. ``RuntimeError`` outside of the block."""
        if self._server is None:
            raise RuntimeError("a live server is there inside of its `async with` block only")
        return self._server

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT`` (``wss`` with ``ssl=``), without a path."""
        return f"{self._scheme}://127.0.0.1:{self.server.port}"

    async def __aenter__(self) -> live:
        self._server = await self._serving
        self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.stop()
        assert self._server is not None
        await self._server.shutdown(GRACE_SECONDS)
        self._server = None
        self._watch.check(exc)
