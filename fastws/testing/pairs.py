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
from fastws.server.serve import Server, serve
from fastws.server.settings import SettingsOptions, settings_from
from fastws.server.site import App
from fastws.testing.clock import Clock
from fastws.testing.loop import ManualLoop
from fastws.testing.network import Network
from fastws.testing.transport import MemoryTransport
from fastws.testing.watch import Watch

__all__ = ["End", "live", "pair"]

#: Seconds that an end of a block gives to closes and to handlers.
GRACE = 0.5


class End:
    """One end of a connection in memory: how well it reads, and how it goes.

    What it does not read fills the space between (256 KiB unless the pair says otherwise), and then
    the other end's socket refuses bytes: that end's peer is slow.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport

    def stall(self, room: int = 0) -> None:
        """Read nothing more; ``room`` bytes still fit between."""
        self.transport.hold_back(room)

    def read(self, count: int | None = None) -> None:
        """After a stall: read ``count`` bytes more, or everything from now on."""
        self.transport.allow(count)

    def read_slowly(self, count: int, seconds: float) -> None:
        """Read ``count`` bytes every so many seconds (of the clock, if there is one), to the end."""
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

        ``room`` bytes (default: the space between) still fit before its socket refuses.
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
        """Whether a close would reach the other end."""
        other = self.transport.other
        return other is not None and not self.transport.holds_back and not other.holds_back


@dataclass(frozen=True, slots=True)
class _MemoryTarget(Target):
    """Leads to a listener in memory, whatever the URL."""

    reach: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None

    async def connect(self, loop: Any, factory: Callable[[], Any], address: Any) -> Any:
        assert self.reach is not None
        return await self.reach(factory)


class _MemoryServer(Server):
    def __init__(self, app: App, settings: Settings, network: Network) -> None:
        super().__init__(app, settings)
        self._network = network

    async def begin(self) -> None:
        listener: Any = await self._network.create_server(self._accept, "server.test", 80)
        self._listeners.add(listener)


class pair:
    """A server of ``app`` and a client of it, joined in memory: ``async with pair(app) as ws``.

    ``app`` and ``settings`` are what :func:`fastws.serve` takes (no address), ``client`` are keyword
    arguments of :func:`fastws.connect`, ``path`` is path and query of its URL. ``ws`` is the client's
    WebSocket. Works on any loop, also beside sockets, and leaves neither tasks nor connections: at the
    end of the block clients close, and handlers that still run after half a second are cancelled.

    ``clock`` gives both their time (:class:`Clock`). A wait of the test in the block that takes more
    than ``timeout`` seconds of real time (5; None: no limit) raises :class:`WaitTimeout`, which says
    what was waited for. ``capacity`` is how many bytes an end holds unread (256 KiB).

    With a name it gives more: ``link = pair(app)``, then ``link.server``, ``link.client_end`` and
    ``link.server_end`` (:class:`End`), ``await link.connect()`` for another client.
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
        """The server. RuntimeError outside of the block."""
        if self._server is None:
            raise RuntimeError("a pair is open inside of its `async with` block only")
        return self._server

    @property
    def client_end(self) -> End:
        """The end of the first client. RuntimeError when there is none."""
        return End(self._joined(0)[0])

    @property
    def server_end(self) -> End:
        """The server's end of the first client's connection. RuntimeError when there is none."""
        return End(self._joined(0)[1])

    def ends(self, number: int) -> tuple[End, End]:
        """The client's and the server's end of connection ``number``, in the order of their making."""
        client, server = self._joined(number)
        return End(client), End(server)

    def _joined(self, number: int) -> tuple[MemoryTransport, MemoryTransport]:
        connections = [] if self._network is None else self._network.connections
        if number >= len(connections):
            raise RuntimeError(f"there is no connection number {number}")
        return connections[number]

    async def connect(self, path: str = "/", **options: Any) -> WebSocket:
        """Return one more client; raises as :func:`fastws.connect`, whose options it takes."""
        if self._network is None:
            raise RuntimeError("a pair is open inside of its `async with` block only")
        connecting = connect(f"ws://server.test{path}", **options)
        connecting._way = _MemoryTarget(reach=self._reach)
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
        # On a loop without real time nothing waits.
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
            await asyncio.wait(closing, timeout=GRACE)
            for client, _ in self._network.connections:
                client.abort()
            await asyncio.gather(*closing)
        if self._server is not None:
            await self._server.shutdown(GRACE)


class live:
    """A server of ``app`` on a free port of 127.0.0.1: ``async with live(app) as site``.

    ``site.url`` is its address, ``site.server`` the :class:`fastws.Server`. ``settings`` and
    ``timeout`` as in :class:`pair`, ``ssl`` as in :func:`fastws.serve`. For tests that need sockets:
    another library's client, or another process.
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
        """The server. RuntimeError outside of the block."""
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
        await self._server.shutdown(GRACE)
        self._server = None
        self._watch.check(exc)
