"""Listening, counting, and stopping; on a loop without sockets."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import (
    Limits,
    Request,
    Response,
    Route,
    Server,
    Settings,
    Static,
    Timeouts,
    WebSocket,
)
from fastws.server.run import serve_until_signal
from fastws.server.settings import settings_from
from fastws.server.site import as_routes
from fastws.testing.network import ListeningSocket
from fastws.testing.wire import CLOSE, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop, RawClient, Recorder

QUIET: dict[str, Any] = {"access_log": False, "timeouts": {"ping_interval": None}}


def served(loop: ManualLoop, app: Any, **settings: Any) -> Server:
    async def start() -> Server:
        return await fastws.serve(app, **{**QUIET, **settings})

    return loop.run(start())


def opened(loop: ManualLoop, server: Server, path: str = "/") -> RawClient:
    client = RawClient(server, loop)
    assert client.upgrade(path).status == 101
    return client


def page(request: Request) -> Response:
    return Response(200, "page")


def test_a_server_is_a_context_manager_too(loop: ManualLoop) -> None:
    async def scenario() -> Server:
        async with await fastws.serve(Recorder(), **QUIET) as server:
            assert not server.is_closing
        return server

    assert loop.run(scenario()).is_closing


class TestApps:
    def test_one_handler_for_every_path(self, loop: ManualLoop) -> None:
        for app in (Recorder(), Recorder, coroutine):
            server = served(loop, app)
            for path in ("/", "/a", "/a/b/c", "/%C3%BC?x=y"):
                opened(loop, server, path)
            loop.run(server.shutdown(0))

    def test_what_is_given(self, tmp_path: Path) -> None:
        route, folder = Route("/", http=page), Static("/", tmp_path)
        assert as_routes(route) == [route]
        assert as_routes(folder) == [folder]
        assert as_routes((route, folder)) == [route, folder]
        with pytest.raises(TypeError):
            as_routes("module:app")


async def coroutine(ws: WebSocket) -> None:
    await ws.recv()


class TestSettings:
    def test_defaults(self) -> None:
        assert settings_from() == Settings()

    def test_each(self) -> None:
        settings = settings_from(
            limits={"send_queue": 3},
            timeouts=Timeouts(write=1.0),
            compression=None,
            origins=["https://a.example"],
            require_origin=True,
            headers=[("x-server", "mine"), ("X-More", "1")],
            access_log=False,
            limit_concurrency=5,
            limit_connections_per_address=2,
            limit_handshakes_per_address=3,
            proxy_headers=True,
            forwarded_allow_ips=["*"],
        )
        assert settings == Settings(
            limits=Limits(send_queue=3),
            timeouts=Timeouts(write=1.0),
            compression=None,
            origins=frozenset(["https://a.example"]),
            require_origin=True,
            headers=((b"x-server", b"mine"), (b"X-More", b"1")),
            access_log=False,
            limit_concurrency=5,
            limit_connections_per_address=2,
            limit_handshakes_per_address=3,
            trusted_proxies=("*",),
        )
        assert settings_from(forwarded_allow_ips=["*"]).trusted_proxies == ()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limits": {"nonsense": 1}},
            {"nonsense": 1},
            {"headers": [("a b", "x")]},
            {"headers": [("A", "x\n")]},
        ],
    )
    def test_what_fits_nothing(self, wrong: dict[str, Any]) -> None:
        with pytest.raises((TypeError, ValueError)):
            fastws.serve(page, **wrong)

    @pytest.mark.parametrize(
        "wrong",
        [{"headers": [("Connection", "x")]}, {"proxy_headers": True, "forwarded_allow_ips": ["host"]}],
    )
    def test_what_the_start_refuses(self, loop: ManualLoop, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="host|Connection|connection"):
            served(loop, Route("/", http=page), **wrong)
        assert loop.network.listeners == {}


class TestDate:
    def test_each_response_says_when_it_was_made(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [784_111_777.9]
        monkeypatch.setattr("fastws.server.site.time.time", lambda: clock[0])
        server = served(loop, Route("/", http=page), headers=[("Date", "never")])
        client = RawClient(server, loop)
        for seconds, path in ((0, "/"), (0, "/nowhere"), (86_400, "/")):
            clock[0] += seconds
            client.get(path)
        client.send(b"nonsense\r\n\r\n")
        loop.settle()
        assert client.pending().count(b"\r\nDate: ") == 4
        heads = [(each.status, each.headers["date"]) for each in client.responses()]
        sunday, monday = "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT"
        assert heads == [(200, sunday), (404, sunday), (200, monday), (400, monday)]


class TestListening:
    def test_addresses(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder(), host="127.0.0.1", port=8000)
        assert server.port == 8000
        assert [sock.getsockname() for sock in server.sockets] == [("127.0.0.1", 8000)]
        assert server.is_serving()
        loop.run(server.listen("127.0.0.1", 8001, reuse_port=True))
        loop.run(server.listen(unix=Path("/run/x.sock")))
        loop.run(server.listen(sock=ListeningSocket(("127.0.0.1", 8002))))  # type: ignore[arg-type]
        loop.run(server.listen(sock=ListeningSocket("/run/y.sock")))  # type: ignore[arg-type]
        assert len(server.sockets) == 5
        with pytest.raises(OSError, match="taken"):
            loop.run(server.listen("127.0.0.1", 8000))
        server.close()
        server.close()
        assert loop.network.listeners == {}
        assert not server.is_serving()

    def test_a_server_without_a_port(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder(), unix="/run/x.sock")
        with pytest.raises(IndexError):
            server.port  # noqa: B018
        client = loop.network.listeners["/run/x.sock"].accept()
        assert client.get_extra_info("peername") == ""

    async def test_a_unix_socket_is_taken_over_from_the_dead_alone_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with fastws.serve(Recorder(), unix=path) as server:
            with pytest.raises(OSError, match="another server listens at .*sock"):
                await fastws.serve(Recorder(), unix=path)
            async with fastws.connect("ws://localhost/", unix=path) as ws:
                assert await ws.ping() > 0
            with pytest.raises(IndexError, match="has a port"):
                server.port  # noqa: B018
        assert not path.exists()

    async def test_a_unix_socket_of_somebody_else_by_now_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "sock"
        async with fastws.serve(Recorder(), unix=path):
            path.unlink()
            path.write_text("theirs")
        assert path.read_text() == "theirs"

    def test_tls(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        given: dict[str, Any] = {}
        listen = loop.network.create_server

        async def create_server(*args: Any, **options: Any) -> Any:
            given.update(options)
            return await listen(*args, **options)

        monkeypatch.setattr(loop, "create_server", create_server)
        context: Any = object()
        server = served(loop, Recorder(), ssl=context, timeouts={"tls_handshake": 3.0}, backlog=7)
        assert (given["ssl"], given["ssl_handshake_timeout"], given["backlog"]) == (context, 3.0, 7)
        client = opened(loop, server)
        assert client.transport.get_extra_info("ssl_object") is context

    def test_as_a_context(self, run: Run) -> None:
        async def scenario() -> bool:
            async with fastws.serve(coroutine, **QUIET) as server:
                assert server.is_serving()
                ws = await fastws.connect(f"ws://server:{server.port}/", proxy=None)
            assert ws.close_code == 1001
            return server.is_serving()

        assert run(scenario()) is False

    def test_for_ever(self, run: Run) -> None:
        async def scenario() -> bool:
            server = await fastws.serve(coroutine, **QUIET)
            task = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return server.is_serving()

        assert run(scenario()) is False


class TestCounters:
    def test_what_it_has_done(self, loop: ManualLoop) -> None:
        handler = Recorder(echo=True)
        server = served(loop, [Route("/", handler), Route("/page", http=page)], limits={"send_queue": 1})
        first, second = opened(loop, server), opened(loop, server)
        RawClient(server, loop).get("/page")
        first.text("a")
        first.binary(b"bc")
        second.stall()
        ws = handler.ws
        for message in ("1", "2", "3"):
            ws.send_nowait(message)
            loop.settle()
        second.connection.evict("too slow")
        loop.settle()
        first.close()
        loop.settle()
        counters = server.counters
        assert counters.as_dict() == {
            "connections": 3,
            "http_responses": 1,
            "websockets_opened": 2,
            "websockets_closed": 2,
            "messages_received": 2,
            "messages_sent": 3,
            "messages_dropped": 1,
            "bytes_received": counters.bytes_received,
            "bytes_sent": counters.bytes_sent,
            "evicted": 1,
            "limited": 0,
        }
        assert counters.bytes_received == (2 + 4 + 1) + (2 + 4 + 2) + (2 + 4 + 2)
        # Not the close frames: those are on their way when the WebSocket counts as closed.
        assert counters.bytes_sent == 3 + 4 + 3

    def test_the_access_log(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "fastws.access"):
            server = served(loop, Route("/{name}", Recorder(echo=True)), access_log=True)
            client = opened(loop, server, "/a%0Ab?token=secret")
            client.text("hello")
            client.close(4000, "by\ne")
            loop.settle()
            (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(
            r'192.0.2.1:50000 "WS /a\nb" closed 4000 "by\ne" by peer after 0.0 s, in 1 messages '
        )
        assert "secret" not in line


class TestAddresses:
    @pytest.mark.parametrize("proxied", [False, True])
    def test_so_many_for_each(self, loop: ManualLoop, proxied: bool) -> None:
        server = served(loop, Route("/", http=page), limit_connections_per_address=1, proxy_headers=proxied)
        clients = [RawClient(server, loop, peername=("127.0.0.1", port)) for port in (1, 2)]
        for number, client in enumerate(clients):
            client.get("/", f"X-Forwarded-For: 192.0.2.{number}")
        loop.settle()
        statuses = [client.response().status for client in clients]
        assert statuses == ([200, 200] if proxied else [200, 429])
        clients[0].transport.lose()
        clients[1].transport.lose()
        loop.settle()
        again = RawClient(server, loop, peername=("127.0.0.1", 3))
        again.get("/")
        loop.settle()
        assert again.response().status == 200


class TestStopping:
    def test_everybody_hears_1001_behind_what_was_accepted(self, loop: ManualLoop) -> None:
        handler = Recorder()
        server = served(loop, handler)
        clients = [opened(loop, server) for _ in range(3)]
        for ws in handler.sockets:
            ws.send_nowait("last")
        stopping = loop.create_task(server.shutdown())
        loop.settle()
        assert loop.network.listeners == {}
        for client in clients:
            last, bye = client.frames()
            assert (last.opcode, bye.opcode, bye.close_code, bye.close_reason) == (
                TEXT,
                CLOSE,
                1001,
                "going away",
            )
            client.close(1001)
        loop.settle()
        assert stopping.done()
        assert handler.closes() == [(1001, "going away")] * 3
        assert (asyncio.all_tasks(loop), loop.timers, server.connections) == (set(), [], {})

    def test_who_does_not_answer_is_cut(self, loop: ManualLoop) -> None:
        handler = Recorder()
        server = served(loop, handler, timeouts={**QUIET["timeouts"], "close": 60})
        client = opened(loop, server)
        start = loop.time()
        loop.run(server.shutdown(3))
        assert loop.time() - start == pytest.approx(3)
        assert client.transport.aborted
        assert handler.closes() == [(1001, "going away")]

    def test_at_once(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder())
        client = opened(loop, server)
        start = loop.time()
        loop.run(server.shutdown(0))
        assert client.transport.lost
        assert loop.time() == start

    def test_without_a_limit(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder(), timeouts={**QUIET["timeouts"], "close": 500})
        client = opened(loop, server)
        start = loop.time()
        loop.run(server.shutdown(None))
        assert loop.time() - start == pytest.approx(500, abs=0.2)
        assert client.transport.lost

    def test_http_connections(self, loop: ManualLoop) -> None:
        async def slow(request: Request) -> Response:
            await asyncio.sleep(2)
            return Response(200, "done")

        async def never(request: Request) -> Response:
            await loop.create_future()
            raise AssertionError

        server = served(loop, [Route("/slow", http=slow), Route("/never", http=never)])
        idle, half, works, hangs = (RawClient(server, loop) for _ in range(4))
        half.send(b"GET /slow HT")
        works.get("/slow")
        hangs.get("/never")
        loop.settle()
        loop.run(server.shutdown(5))
        assert idle.transport.aborted
        assert half.transport.aborted
        assert works.response().body == b"done"
        assert hangs.transport.aborted
        assert (asyncio.all_tasks(loop), loop.timers) == (set(), [])

    @pytest.mark.parametrize("stubborn", [False, True])
    def test_handlers_are_cancelled_after_the_grace(self, loop: ManualLoop, stubborn: bool) -> None:
        said: list[str] = []

        async def busy(ws: WebSocket) -> None:
            for _ in range(2 if stubborn else 1):
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    said.append("cancelled")
            if stubborn:
                await asyncio.sleep(3600)

        server = served(loop, busy)
        client = opened(loop, server)
        client.close()
        start = loop.time()
        loop.run(server.shutdown(5))
        assert said == ["cancelled"]
        assert loop.time() - start == pytest.approx(6 if stubborn else 5, abs=0.2)

    def test_handlers_that_end_by_themselves(self, loop: ManualLoop) -> None:
        said: list[str] = []

        async def tidy(ws: WebSocket) -> None:
            async for _ in ws:
                pass
            await asyncio.sleep(1)
            said.append("tidy")

        server = served(loop, tidy)
        client = opened(loop, server)
        stopping = loop.create_task(server.shutdown(5))
        loop.settle()
        client.close(1001)
        loop.advance(1.1)
        assert stopping.done()
        assert said == ["tidy"]

    def test_cancelled(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder())
        client = opened(loop, server)
        stopping = loop.create_task(server.shutdown())
        loop.settle()
        stopping.cancel()
        loop.settle()
        assert stopping.cancelled()
        assert client.transport.aborted

    def test_waiting_for_the_last_connection(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder())
        first, second = opened(loop, server), opened(loop, server)
        server.close()
        waiting = [loop.create_task(server.wait_closed()) for _ in range(2)]
        cancelled = loop.create_task(server.wait_closed())
        loop.settle()
        cancelled.cancel()
        first.transport.lose()
        loop.settle()
        assert not any(task.done() for task in waiting)
        second.transport.lose()
        loop.settle()
        assert all(task.done() for task in waiting)
        loop.run(server.wait_closed())


class TestRun:
    def start(self, loop: ManualLoop, app: Any, *addresses: dict[str, Any], **options: Any) -> Any:
        self.servers: list[Server] = []
        settings = settings_from(**QUIET)
        return loop.create_task(
            serve_until_signal(app, addresses, settings, started=self.servers.append, **options)
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_it(self, loop: ManualLoop, number: int) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8001})
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(number)
        loop.settle()
        assert client.frames()[-1].close_code == 1001
        client.close(1001)
        loop.settle()
        assert task.result() == 0
        assert asyncio.all_tasks(loop) == set()

    def test_within_its_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=2.0)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(2.0)
        assert task.result() == 0
        assert client.transport.aborted

    def test_without_a_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=None)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(4.9)
        assert not task.done()
        client.transport.lose()
        loop.settle()
        assert task.result() == 0

    def test_a_second_signal_ends_at_once(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        def leave(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.setattr("fastws.server.run.os._exit", leave)
        self.start(loop, Recorder(), {"port": 8000})
        loop.settle()
        opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.settle()
        loop.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            loop.turn()
        assert caught.value.code == 128 + signal.SIGINT

    def test_an_address_that_cannot_be_had(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8000})
        loop.settle()
        assert isinstance(task.exception(), OSError)
        assert self.servers == []
        assert loop.network.listeners == {}


@pytest.mark.live
def test_on_real_sockets() -> None:
    """The one thing that memory cannot show: that both loops take what ``listen`` gives them."""

    async def scenario() -> None:
        async with fastws.serve(Recorder(echo=True), "127.0.0.1", **QUIET) as server:
            async with fastws.connect(f"ws://127.0.0.1:{server.port}/", proxy=None) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            given = socket.create_server(("127.0.0.1", 0))
            await server.listen(sock=given)
            async with fastws.connect(f"ws://127.0.0.1:{given.getsockname()[1]}/", proxy=None) as ws:
                await ws.send(b"x" * 1_000_000)
                assert len(await ws.recv()) == 1_000_000

    asyncio.run(scenario())
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(scenario())
