"""Accepting at a shared socket: each worker its part, the PROXY header, and what goes wrong; real sockets."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastws
from fastws.loop.event_loops import loop_factory
from fastws.server import acceptor as module
from fastws.server.acceptor import Acceptor
from fastws.server.forwarded import TrustedProxies
from fastws.server.server import Server
from fastws.server.settings import settings_from
from fastws.server.shared_page import Membership, SharedPage


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


async def peer_of(ws: fastws.WebSocket) -> None:
    async for _ in ws:
        await ws.send(f"{ws.peer[0]}:{ws.peer[1]}")


@pytest.fixture(params=[asyncio.new_event_loop, loop_factory()], ids=["asyncio", "auto"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def run(scenario: Any) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(scenario)

    return run


async def serving(sock: socket.socket, acceptor: Acceptor, app: Any = peer_of, **settings: Any) -> Server:
    server = Server(app, settings_from(**settings))
    if acceptor.page is not None and acceptor.row is not None:
        server.share(Membership(acceptor.page, acceptor.row))
    await server.listen(sock=sock.dup(), acceptor=acceptor)
    return server


def url(sock: socket.socket) -> str:
    return f"ws://127.0.0.1:{sock.getsockname()[1]}/"


def test_it_serves_and_its_row_tells_of_it(listening: socket.socket, run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        page = SharedPage.create(1)
        row = page.row(0)
        async with await serving(listening, Acceptor(page, row)) as server:
            assert row.is_serving
            async with fastws.connect(url(listening)) as ws:
                await ws.send("who")
                assert str(await ws.recv()).startswith("127.0.0.1:")
                assert row.connections == len(server.connections) == 1
        assert row.connections == 0 and not row.is_serving

    run(scenario())


@pytest.mark.parametrize(("fewest", "spare"), [(0, 8), (100, 8), (320, 20)])
def test_how_many_it_may_have(fewest: int, spare: int) -> None:
    page = SharedPage.create(3)
    for row in page.rows:
        row.is_serving = True
        row.beat()
        row.connections = fewest
    ours, acceptor = page.row(0), Acceptor(page, page.row(0))
    assert acceptor.room() == min(spare + 1, 16)
    ours.connections = fewest + spare
    assert acceptor.room() == 1
    ours.connections += 1
    assert acceptor.room() == 0
    assert ours.yields
    for row in page.rows[1:]:  # both yield too, so that nobody would accept
        row.yields = True
    assert acceptor.room() > 0
    assert not ours.yields
    for row in page.rows[1:]:
        row.yields = False
    for row in page.rows[1:]:  # both are stopped
        row.beat(0)
    assert acceptor.room() == (9 if spare == 8 else 16)


def test_a_worker_that_has_more_lets_the_other_accept(
    listening: socket.socket, run: Callable[[Any], Any]
) -> None:
    async def scenario() -> None:
        page = SharedPage.create(2)
        servers = []
        for row in page.rows:
            row.beat()
            servers.append(await serving(listening, Acceptor(page, row)))
        clients = [await fastws.connect(url(listening)) for _ in range(60)]
        numbers = [len(server.connections) for server in servers]
        assert sum(numbers) == 60 and max(numbers) - min(numbers) <= 9
        for client in clients:
            client.close_nowait()
        for server in servers:
            await server.shutdown()

    run(scenario())


PROXIED = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def who(request: fastws.Request) -> fastws.Response:
    return fastws.Response(200, str(request.peer[0]))


async def asked(sock: socket.socket, pieces: list[bytes]) -> bytes:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return (await reader.read()).rpartition(b"\r\n\r\n")[2]
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([PROXIED + GET], b"192.0.2.7"),
        ([PROXIED[:3], PROXIED[3:20], PROXIED[20:] + GET[:3], GET[3:]], b"192.0.2.7"),
        ([b"PROXY UNKNOWN\r\n" + GET], b"127.0.0.1"),
        ([GET], b""),
    ],
)
@pytest.mark.parametrize("proxy_headers", [False, True])
def test_whom_a_proxy_names(
    listening: socket.socket,
    run: Callable[[Any], Any],
    pieces: list[bytes],
    said: bytes,
    proxy_headers: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        acceptor = Acceptor(proxies=TrustedProxies(["127.0.0.1"]))
        routes = [fastws.Route("/", http=who)]
        async with await serving(listening, acceptor, routes, proxy_headers=proxy_headers) as server:
            assert await asked(listening, pieces) == said
            for _ in range(2):
                await asked(listening, [b"nonsense"])
            await server.wait_closed()
            assert not server._site.proxied

    with caplog.at_level(logging.WARNING, "fastws.error"):
        run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "is closed: it begins with no PROXY header" in lines[0]


def test_a_proxy_that_is_not_trusted(
    listening: socket.socket, run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with await serving(listening, Acceptor(proxies=TrustedProxies(["192.0.2.1"]))):
            assert await asked(listening, [PROXIED + GET]) == b""

    run(scenario())
    assert "it is no trusted proxy" in caplog.text


def test_a_header_that_does_not_come(
    listening: socket.socket,
    run: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "PROXY_HEADER_SECONDS", 0.01)

    async def scenario() -> None:
        acceptor = Acceptor(proxies=TrustedProxies(["*"]))
        async with await serving(listening, acceptor):
            assert await asked(listening, [PROXIED[:9]]) == b""
            assert acceptor.waiting_for_header == 0

    run(scenario())
    assert "did not come within 0.01 s" in caplog.text


def test_who_is_on_the_way_to_the_server_takes_no_place_there(
    listening: socket.socket, run: Callable[[Any], Any]
) -> None:
    async def scenario() -> None:
        page = SharedPage.create(2)
        row = page.row(0)
        acceptor = Acceptor(page, row, proxies=TrustedProxies(["*"]))
        routes = [fastws.Route("/", http=who)]
        async with await serving(listening, acceptor, routes, limit_concurrency=1) as server:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            while not row.starting:
                await asyncio.sleep(0)
            assert (row.connections, page.connections(), page.fewest(time.monotonic_ns())) == (0, 0, 1)
            assert await asked(listening, [PROXIED + GET]) == b"192.0.2.7"
            writer.write(PROXIED + GET)
            assert (await reader.read()).endswith(b"192.0.2.7")
            writer.close()
            await server.wait_closed()
            assert (row.connections, row.starting, row.excess) == (0, 0, 0)

    run(scenario())


@pytest.mark.parametrize("header", [b"", PROXIED], ids=["direct", "proxied"])
@pytest.mark.parametrize("sent", [GET, b"OPTIONS / HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
def test_a_client_without_tls_on_a_port_with_tls(
    listening: socket.socket,
    run: Callable[[Any], Any],
    caplog: pytest.LogCaptureFixture,
    header: bytes,
    sent: bytes,
) -> None:
    async def scenario() -> None:
        acceptor = Acceptor(proxies=TrustedProxies(["*"]) if header else None)
        async with Server(peer_of, settings_from()) as server:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            await server.listen(sock=listening.dup(), ssl=tls, acceptor=acceptor)
            for _ in range(2):
                await asked(listening, [header + sent])

    run(scenario())
    # The second one comes within the time in which a cause has one line.
    (line,) = [record.getMessage() for record in caplog.records if record.name == "fastws.error"]
    assert "does not speak TLS on a port with TLS" in line
    assert line.startswith("192.0.2.7:" if header else "127.0.0.1:")


@pytest.mark.parametrize("proxies", [None, TrustedProxies(["192.0.2.1"])], ids=["direct", "proxied"])
def test_the_log_says_ipv4_at_a_dual_stack_socket(
    run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture, proxies: TrustedProxies | None
) -> None:
    async def scenario(sock: socket.socket) -> None:
        async with Server(peer_of, settings_from()) as server:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            await server.listen(sock=sock, ssl=tls, acceptor=Acceptor(proxies=proxies))
            reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            writer.write(GET)
            await reader.read()
            writer.close()

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        run(scenario(sock.dup()))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "fastws.error"]
    assert line.startswith("127.0.0.1:")


class Broken:
    """A socket that accepts nothing, for no descriptor is left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.asked = 0

    def accept(self) -> Any:
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_no_descriptor_is_left(
    listening: socket.socket, run: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        acceptor = Acceptor()
        server = Server(peer_of, settings_from())
        broken: Any = Broken(listening.dup())
        await server.listen(sock=broken, acceptor=acceptor)
        with socket.create_connection(listening.getsockname()):
            while not broken.asked:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
        assert broken.asked == 1  # and again in a second
        await server.shutdown()

    run(scenario())
    assert caplog.text.count("connections cannot be accepted: [Errno 24] Too many open files") == 1


def test_a_limit_counts_the_connections_of_all_workers(
    listening: socket.socket, run: Callable[[Any], Any]
) -> None:
    async def scenario() -> None:
        page = SharedPage.create(2)
        page.row(1).connections = 5
        routes = [fastws.Route("/", http=who)]
        async with await serving(listening, Acceptor(page, page.row(0)), routes, limit_concurrency=5):
            assert b"503" in await asked(listening, [GET])
            page.row(1).connections = 4
            assert await asked(listening, [GET]) == b"127.0.0.1"

    run(scenario())
