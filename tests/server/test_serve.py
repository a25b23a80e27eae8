"""Counting and stopping; on a loop without sockets, but for one test."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

import fastws
from fastws import Request, Response, Route, Server, WebSocket
from fastws.testing.wire import CLOSE, TEXT
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import QUIET, opened, served
from tests.server.sites import page


@pytest.mark.parametrize(("limit", "full"), [(None, False), (1, True), (2, False)])
def test_a_server_is_full_beyond_its_limit(loop: ManualLoop, limit: int | None, full: bool) -> None:
    server = served(loop, Recorder(), limit_concurrency=limit)
    for _ in range(2):
        RawClient(server, loop)
    loop.settle()
    assert server.is_full() is full


def test_a_server_is_a_context_manager_too(loop: ManualLoop) -> None:
    async def scenario() -> Server:
        async with await fastws.serve(Recorder(), **QUIET) as server:
            assert not server.is_closing
        return server

    assert loop.run(scenario()).is_closing


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
            "dropped_oldest": 0,
            "dropped_newest": 0,
            "queue_bytes": 0,
        }
        assert counters.bytes_received == (2 + 4 + 1) + (2 + 4 + 2) + (2 + 4 + 2)
        # Not the close frames: those are on their way when the WebSocket counts as closed.
        assert counters.bytes_sent == 3 + 4 + 3

    def test_the_access_log(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "fastws.access"):
            server = served(loop, Route("/{name}", Recorder(echo=True)), access_log=True)
            client = opened(loop, server, path="/a%0Ab?token=secret")
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
