"""The server's phase of a connection: plain HTTP, its bounds and times, and the way to a WebSocket."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import Limits, Request, Response, Route, Server, Static
from fastws.server.serve import FULL_ANSWERS
from fastws.testing.wire import TEXT
from tests.kit import ManualLoop, RawClient, Recorder, frame, handshake

EARLY_SIZE, PIPELINED = Limits().max_early_size, Limits().pipelined_requests


class Site:
    """A server with these routes, and clients made of bytes."""

    def __init__(self, loop: ManualLoop, *routes: Any, **settings: Any) -> None:
        self.loop = loop

        async def start() -> Server:
            return await fastws.serve(list(routes), **{"access_log": False, **settings})

        self.server = loop.run(start())

    def client(self, **options: Any) -> RawClient:
        return RawClient(self.server, self.loop, **options)

    def ask(self, target: str, *headers: str, method: str = "GET") -> Any:
        """The answer to one request on a connection of its own."""
        client = self.client()
        client.get(target, *headers, method=method)
        self.loop.settle()
        return client.response(head_only=method == "HEAD")


def page(request: Request) -> Response:
    return Response(200, f"{request.method} {request.target}")


def body(request: Request) -> Response:
    return Response(200, request.body)


async def slow(request: Request) -> Response:
    await asyncio.sleep(float(request.query or 1))
    return Response(200, f"slow {request.query}")


def statuses(client: RawClient) -> list[int]:
    return [answer.status for answer in client.responses()]


class TestPages:
    @pytest.fixture
    def site(self, loop: ManualLoop) -> Site:
        return Site(
            loop,
            Route("/", http=page),
            Route("/body", http=body, methods=["POST", "PUT"]),
            Route("/slow", http=slow),
            Route("/ws", Recorder()),
            Route("/room/{name}", http=lambda request: Response(200, request.path_params["name"])),
        )

    def test_answers(self, site: Site) -> None:
        answer = site.ask("/?a=b")
        assert (answer.status, answer.body) == (200, b"GET /?a=b")
        assert answer.headers["x-server"] == "fastws"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert site.ask("/room/a%20b").body == b"a b"
        assert site.server.counters.http_responses == 2

    def test_head(self, site: Site) -> None:
        answer = site.ask("/", method="HEAD")
        assert (answer.status, answer.headers["content-length"]) == (200, "6")

    def test_an_async_endpoint(self, site: Site) -> None:
        client = site.client()
        client.get("/slow?2")
        site.loop.advance(1)
        assert client.pending() == b""
        site.loop.advance(1)
        assert client.response().body == b"slow 2"

    @pytest.mark.parametrize(
        ("method", "target", "status", "field"),
        [
            ("GET", "/none", 404, None),
            ("POST", "/none", 404, None),
            ("POST", "/", 405, ("allow", "GET, HEAD")),
            ("GET", "/body", 405, ("allow", "POST, PUT")),
            ("GET", "/ws", 426, ("upgrade", "websocket")),
            ("HEAD", "/ws", 426, ("upgrade", "websocket")),
            ("POST", "/ws", 405, ("allow", "GET")),
        ],
    )
    def test_refusals(
        self, site: Site, method: str, target: str, status: int, field: tuple[str, str] | None
    ) -> None:
        answer = site.ask(target, method=method)
        assert answer.status == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert target.encode() not in answer.body or target == "/"
        if field is not None:
            assert answer.headers[field[0]] == field[1]

    def test_a_connection_is_used_again(self, site: Site) -> None:
        client = site.client()
        for target in ("/", "/none", "/ws", "/"):
            client.get(target)
            site.loop.settle()
        assert statuses(client) == [200, 404, 426, 200]
        client.get("/", "Connection: close")
        site.loop.settle()
        assert client.response().headers["connection"] == "close"
        assert client.transport.eof_written
        client.get("/")
        site.loop.settle()
        assert client.pending() == b""


class TestBodies:
    @pytest.fixture
    def client(self, loop: ManualLoop) -> RawClient:
        site = Site(loop, Route("/", http=body, methods=["POST"]), limits={"max_body_size": 100_000})
        return site.client()

    def post(self, client: RawClient, size: int, *headers: str) -> None:
        client.get("/", f"Content-Length: {size}", *headers, method="POST")

    def test_whole_and_in_pieces(self, loop: ManualLoop, client: RawClient) -> None:
        self.post(client, 5)
        client.send(b"hello")
        assert client.response().body == b"hello"
        self.post(client, 5)
        for piece in (b"h", b"el", b"lo"):
            client.send(piece)
        assert client.response().body == b"hello"

    def test_chunked(self, client: RawClient) -> None:
        client.get("/", "Transfer-Encoding: chunked", method="POST")
        client.send(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
        assert client.response().body == b"hello"

    def test_too_large(self, loop: ManualLoop, client: RawClient) -> None:
        self.post(client, 100_001)
        assert client.response().status == 413
        loop.settle()
        assert client.transport.eof_written

    def test_continue(self, client: RawClient) -> None:
        self.post(client, 2, "Expect: 100-continue")
        assert client.pending() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client._received = b""
        client.send(b"ok")
        assert client.response().body == b"ok"

    def test_nobody_keeps_the_body_of_a_refused_request(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=page)).client()
        for _ in range(3):
            client.get("/", "Content-Length: 50000", method="POST")
            client.send(b"unwanted" * 6250)
        assert set(statuses(client)) <= {405}
        gc.collect()
        assert not any(isinstance(o, bytes) and o.startswith(b"unwantedunwanted") for o in gc.get_objects())

    def test_one_that_breaks_the_rules(self, loop: ManualLoop, client: RawClient) -> None:
        client.get("/", "Transfer-Encoding: chunked", method="POST")
        client.send(b"2\r\nhe\r\n")
        client.send(b"nonsense\r\n")
        assert statuses(client) == [400]
        loop.advance(6)
        assert client.transport.lost


class TestTimes:
    """All by the clock of the loop."""

    @pytest.fixture
    def site(self, loop: ManualLoop) -> Site:
        return Site(loop, Route("/", http=page), Route("/body", http=body, methods=["POST"]))

    def test_a_client_that_says_nothing(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        loop.advance(9.9)
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.lost
        assert client.pending() == b""

    def test_a_head_that_trickles(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        for byte in b"GET / HTTP/1.1\r\n"[:9]:
            client.send(bytes([byte]))
            loop.advance(1)
        assert client.pending() == b""
        loop.advance(1.1)
        assert statuses(client) == [408]
        assert client.transport.eof_written
        loop.advance(4)
        assert not client.transport.lost
        loop.advance(1.2)
        assert client.transport.lost

    def test_between_two_requests(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get()
        loop.advance(70)
        client.get()
        loop.advance(74.9)
        assert statuses(client) == [200, 200]
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.lost

    def test_the_head_of_a_second_request(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get()
        loop.advance(50)
        client.send(b"GET / ")
        loop.advance(9.9)
        assert statuses(client) == [200]
        loop.advance(0.2)
        assert statuses(client) == [408]

    def test_a_part_of_a_second_request_in_the_first_read(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /")
        loop.advance(10.1)
        assert statuses(client) == [200, 408]

    def test_a_slow_body(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get("/body", "Content-Length: 100", method="POST")
        for _ in range(29):
            client.send(b"x")
            loop.advance(1)
        assert client.pending() == b""
        loop.advance(1.1)
        assert statuses(client) == [408]

    def test_a_body_that_is_fast_enough(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get("/body", "Content-Length: 12000", method="POST")
        for _ in range(4):
            assert client.pending() == b""
            client.send(b"x" * 3000)
            loop.advance(29.5)
        assert len(client.response().body) == 12000

    def test_the_pace_of_a_body_is_its_routes_own(self, loop: ManualLoop) -> None:
        route = Route("/", http=body, methods=["POST"], timeouts={"body": 2}, limits={"min_body_rate": 5})
        client = Site(loop, route).client()
        client.get("/", "Content-Length: 100", method="POST")
        for _ in range(5):
            client.send(b"x" * 10)
            loop.advance(1.9)
        assert client.pending() == b""
        loop.advance(2.2)
        assert statuses(client) == [408]

    def test_a_body_that_may_take_for_ever(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=body, methods=["POST"], timeouts={"body": None})).client()
        client.get("/", "Content-Length: 2", method="POST")
        loop.advance(10_000)
        client.send(b"ok")
        assert client.response().body == b"ok"

    def test_an_endpoint_has_the_time_it_takes(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=slow)).client()
        client.get("/?3600")
        loop.advance(3601)
        assert client.response().body == b"slow 3600"
        loop.advance(73)
        assert not client.transport.lost

    def test_switched_off(self, loop: ManualLoop) -> None:
        timeouts = {"handshake": None, "keep_alive": None, "close": None}
        client = Site(loop, Route("/", http=page), timeouts=timeouts).client()
        loop.advance(10_000)
        client.get()
        loop.advance(10_000)
        client.send(b"GET /")
        loop.advance(10_000)
        assert statuses(client) == [200]
        assert not client.transport.lost

    def test_a_client_that_never_reads_its_answer(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.stall(10)
        client.get()
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(2.2)
        assert client.transport.lost


class TestPipelining:
    @pytest.fixture
    def site(self, loop: ManualLoop) -> Site:
        return Site(
            loop, Route("/{name}", http=page), Route("/slow", http=slow), Route("/ws", Recorder(echo=True))
        )

    def test_in_order_whatever_they_take(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        for target in ("/slow?3", "/a", "/slow?1", "/b"):
            client.get(target)
        loop.advance(2)
        assert client.pending() == b""
        loop.advance(5)
        assert [one.body.split()[-1] for one in client.responses()] == [b"3", b"/a", b"1", b"/b"]

    def test_some_in_a_turn(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        many = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(100))
        client.send(many)
        assert len(client.responses()) == PIPELINED
        loop.turn()
        loop.settle()
        rest = client.responses()
        assert [one.body for one in rest] == [b"GET /%d" % number for number in range(PIPELINED, 100)]
        assert len(client.transport.writes) >= 100 // PIPELINED

    def test_a_client_that_does_not_read(self, loop: ManualLoop, site: Site) -> None:
        """The answers of one read are owed; nothing more is read before they are gone."""
        client = site.client()
        client.stall()
        request = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
        for _ in range(100):
            client.send(request)
        assert not client.transport.is_reading()
        assert client.transport.unread == 99 * len(request)
        loop.settle()
        assert client.connection.outbox.queued <= PIPELINED
        client.read()
        loop.settle()
        assert len(client.responses()) == 100

    def test_many_of_a_client_that_does_not_read(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.stall()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        loop.settle()
        assert len(client.transport.writes) == 1
        client.read()
        loop.settle()
        assert len(client.responses()) == 100

    def test_an_upgrade_behind_a_request(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.send(b"GET /slow?1 HTTP/1.1\r\nHost: a\r\n\r\n" + handshake("/ws") + frame(TEXT, "early"))
        loop.advance(2)
        assert [client.response().status for _ in range(2)] == [200, 101]
        assert client.texts() == ["early"]


class TestStreams:
    """Large bodies: read and written in steps, as the socket takes them."""

    SIZE = 2_000_000

    @pytest.fixture
    def site(self, loop: ManualLoop, tmp_path: Path) -> Site:
        (tmp_path / "large.bin").write_bytes(b"x" * self.SIZE)
        return Site(loop, Route("/", http=page), Static("/", tmp_path))

    def test_whole(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get("/large.bin")
        client.get("/")
        assert client.pending().endswith(b"\r\n\r\n")
        loop.settle()
        large, small = client.responses()
        assert (len(large.body), small.body) == (self.SIZE, b"GET /")
        loop.advance(80)
        assert client.transport.lost

    def test_head_leaves_the_connection_usable(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.get("/large.bin", method="HEAD")
        loop.settle()
        assert client.response(head_only=True).headers["content-length"] == str(self.SIZE)
        client.get("/")
        loop.settle()
        assert client.response().body == b"GET /"

    def test_as_the_socket_takes_it(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.stall(10)
        client.get("/large.bin")
        loop.settle()
        assert client.connection.outbox.buffered_amount < 1000
        client.read(1000)
        loop.settle()
        assert client.connection.outbox.buffered_amount < 300_000
        for _ in range(30):
            client.read(100_000)
            loop.settle()
            assert client.connection.outbox.buffered_amount < 600_000
        assert len(client.response().body) == self.SIZE

    def test_aborted(self, loop: ManualLoop, site: Site) -> None:
        client = site.client()
        client.stall(1000)
        client.get("/large.bin")
        loop.settle()
        client.transport.lose()
        loop.settle()
        gc.collect()  # a file left open would be a ResourceWarning

    def stream(self, loop: ManualLoop, *, length: int, chunks: list[Any]) -> tuple[RawClient, list[str]]:
        said: list[str] = []

        class Stream:
            def __init__(self) -> None:
                self.length = length

            def read(self, size: int) -> bytes:
                chunk = chunks.pop(0) if chunks else b""
                if isinstance(chunk, Exception):
                    raise chunk
                return bytes(chunk)

            def close(self) -> None:
                said.append("closed")

        client = Site(loop, Route("/", http=lambda request: Response(stream=Stream()))).client()
        client.get("/")
        loop.settle()
        return client, said

    def test_shorter_than_it_said(self, loop: ManualLoop) -> None:
        client, said = self.stream(loop, length=10, chunks=[b"12345"])
        assert client.pending().endswith(b"\r\n\r\n12345")
        assert client.transport.eof_written
        assert said == ["closed"]

    def test_longer_than_it_said(self, loop: ManualLoop) -> None:
        client, said = self.stream(loop, length=3, chunks=[b"12345", b"67"])
        assert client.response().body == b"123"
        assert client.pending() == b""
        assert said == ["closed"]

    def test_that_cannot_be_read(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        client, said = self.stream(loop, length=10, chunks=[b"12345", OSError("disk")])
        assert client.transport.aborted
        assert said == ["closed"]
        assert "disk" in caplog.text

    def test_of_an_endpoint_whose_client_has_gone(self, loop: ManualLoop) -> None:
        said: list[str] = []

        class Stream:
            length = 1

            def read(self, size: int) -> bytes:
                return b"x"

            def close(self) -> None:
                said.append("closed")

        async def stubborn(request: Request) -> Response:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                said.append("cancelled")
            return Response(stream=Stream())

        client = Site(loop, Route("/", http=stubborn)).client()
        client.get("/")
        loop.settle()
        client.transport.lose()
        loop.settle()
        assert said == ["cancelled", "closed"]


class TestFailures:
    """What an application does wrong is answered 500 and told in the log; the connection goes on."""

    @staticmethod
    def raises(request: Request) -> Response:
        raise ValueError("broken")

    @staticmethod
    async def raises_later(request: Request) -> Response:
        raise ValueError("broken")

    @staticmethod
    def no_response(request: Request) -> Any:
        return "text"

    @staticmethod
    async def no_response_later(request: Request) -> Any:
        return None

    @staticmethod
    def interim(request: Request) -> Response:
        return Response(103)

    @staticmethod
    def strange_body(request: Request) -> Response:
        return Response(200, 5)  # type: ignore[arg-type]

    @staticmethod
    def splits(request: Request) -> Response:
        return Response(200, "", [("X", "a\r\nSet-Cookie: b")])

    @pytest.mark.parametrize(
        "name",
        ["raises", "raises_later", "no_response", "no_response_later", "interim", "strange_body", "splits"],
    )
    def test_500(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, name: str) -> None:
        client = Site(loop, Route("/", http=getattr(self, name)), Route("/fine", http=page)).client()
        client.get("/")
        client.get("/fine")
        loop.settle()
        broken, fine = client.responses()
        assert (broken.status, broken.body, fine.status) == (500, b"500 Internal Server Error\n", 200)
        assert caplog.records

    def test_a_cancellation_from_elsewhere(self, loop: ManualLoop) -> None:
        async def cancelled(request: Request) -> Response:
            raise asyncio.CancelledError

        client = Site(loop, Route("/", http=cancelled)).client()
        client.get("/")
        loop.settle()
        assert client.transport.lost

    def test_the_client_goes_while_the_endpoint_works(self, loop: ManualLoop) -> None:
        said: list[str] = []

        async def work(request: Request) -> Response:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                said.append("cancelled")
                raise
            return Response()

        client = Site(loop, Route("/", http=work)).client()
        client.get("/")
        loop.settle()
        client.transport.lose()
        loop.settle()
        assert said == ["cancelled"]
        assert asyncio.all_tasks(loop) == set()


class TestEnds:
    @pytest.mark.parametrize("over", [None, "TLS"])
    def test_a_client_that_ends_its_side_gets_its_answer(self, loop: ManualLoop, over: str | None) -> None:
        client = Site(loop, Route("/", http=slow)).client(ssl_object=over)
        client.get("/?1")
        client.transport.feed_eof()
        loop.advance(1.1)
        assert client.response().body == b"slow 1"
        assert client.transport.lost

    @pytest.mark.parametrize("sent", [b"", b"GET / HT"])
    def test_without_a_request(self, loop: ManualLoop, sent: bytes) -> None:
        client = Site(loop, Route("/", http=page)).client()
        if sent:
            client.send(sent)
        client.transport.feed_eof()
        loop.settle()
        assert statuses(client) == ([400] if sent else [])
        assert client.transport.lost

    def test_over_tls_the_last_response_ends_it(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=page)).client(ssl_object=object())
        client.get("/", "Connection: close")
        loop.settle()
        assert client.response().status == 200
        assert client.transport.lost

    def test_a_refused_client_that_still_sends(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=page)).client()
        client.send(b"nonsense\r\n\r\n")
        loop.settle()
        for _ in range(4):
            client.send(b"x" * 100_000)
            loop.advance(1)
        assert statuses(client) == [400]
        assert client.transport.unread == 0
        loop.advance(1.2)
        assert client.transport.lost


class TestConcurrency:
    def test_one_too_many(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", http=page), Route("/ws", Recorder()), limit_concurrency=2)
        first, second, third, fourth = (site.client() for _ in range(4))
        fourth.transport.lose()
        loop.settle()
        third.get("/")
        loop.settle()
        assert statuses(third) == [503]
        loop.advance(5.2)
        assert third.transport.lost
        assert first.upgrade("/ws").status == 101
        second.get("/")
        loop.settle()
        assert statuses(second) == [200]
        late = site.client()
        assert late.upgrade("/ws").status == 503
        loop.advance(5.2)
        assert late.transport.lost

    def test_far_too_many_are_closed_unheard(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Site(loop, Route("/", http=page), limit_concurrency=2)
        clients = [site.client() for _ in range(2 + FULL_ANSWERS + 3)]
        loop.settle()
        assert [client.transport.lost for client in clients[-4:]] == [False, True, True, True]
        clients[-4].get("/")
        loop.settle()
        assert statuses(clients[-4]) == [503]
        assert [record.getMessage() for record in caplog.records] == [
            "2 connections are open: more are answered 503 or closed"
        ]


class TestAddresses:
    def test_one_address_has_so_many(self, loop: ManualLoop) -> None:
        site = Site(
            loop,
            Route("/", http=page),
            Route("/ws", Recorder()),
            limit_connections_per_address=1,
            access_log=True,
        )
        first, second = site.client(), site.client()
        first.get("/")
        loop.settle()
        assert (statuses(first), statuses(second)) == ([200], [429])
        other = site.client(peername=("192.0.2.9", 1))
        assert other.upgrade("/ws").status == 101
        assert site.server.counters.limited == 1

    def test_behind_a_proxy(self, loop: ManualLoop) -> None:
        site = Site(
            loop,
            Route("/", http=page),
            limit_connections_per_address=1,
            limit_handshakes_per_address=100,
            proxy_headers=True,
        )
        clients = [site.client(peername=("127.0.0.1", port)) for port in (1, 2, 3)]
        for client, address in zip(clients, "223", strict=True):
            client.get("/", f"X-Forwarded-For: 192.0.2.{address}")
        loop.settle()
        assert [statuses(client) for client in clients] == [[200], [429], [200]]


class TestStopping:
    def test_an_upgrade_is_refused(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", Recorder()))
        client = site.client()
        site.server.close()
        assert client.upgrade().status == 503

    def test_the_last_answer_ends_the_connection(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", http=slow))
        waits, idle = site.client(), site.client()
        waits.get("/?1")
        loop.run(site.server.shutdown())
        assert waits.response().body == b"slow 1"
        assert waits.transport.lost
        assert idle.transport.aborted

    def test_the_last_answer_is_still_on_its_way(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=page)).client()
        client.stall(10)
        client.get("/")
        loop.settle()
        stopping = loop.create_task(client.connection.host.shutdown())
        loop.settle()
        assert not stopping.done()
        client.read()
        loop.settle()
        assert client.response().status == 200
        client.transport.feed_eof()
        loop.settle()
        assert stopping.done()


class TestUpgrade:
    def test_accepted(self, loop: ManualLoop) -> None:
        site = Site(
            loop,
            Route("/ws/{name}", Recorder(), subprotocols=["v2", "v1"], headers=[("X-More", "yes")]),
            headers=[("X-Server", "test")],
        )
        client = site.client()
        answer = client.upgrade("/ws/a%20b", "Sec-WebSocket-Protocol: v1, v2")
        assert answer.status == 101
        assert answer.headers["sec-websocket-protocol"] == "v1"
        assert (answer.headers["x-server"], answer.headers["x-more"]) == ("test", "yes")
        assert client.connection.ws.request.path_params == {"name": "a b"}
        assert client.connection.ws.subprotocol == "v1"
        assert client.connection.phase is None
        assert site.server.counters.websockets_opened == 1
        loop.advance(15)
        assert not client.transport.lost

    @pytest.mark.parametrize(
        ("path", "lines", "status", "field"),
        [
            ("/none", [], 404, None),
            ("/page", [], 404, None),
            ("/post", [], 405, ("allow", "POST")),
            ("/ws", ["Origin: http://evil.example"], 403, None),
            ("/ws", ["Content-Length: 5"], 400, None),
            ("/ws", ["Sec-WebSocket-Version: 12"], 426, ("sec-websocket-version", "13")),
            ("/strict", [], 403, None),
        ],
    )
    def test_refused(
        self, loop: ManualLoop, path: str, lines: list[str], status: int, field: tuple[str, str] | None
    ) -> None:
        site = Site(
            loop,
            Route("/page", http=page),
            Route("/post", http=page, methods=["POST"]),
            Route("/ws", Recorder()),
            Route("/strict", Recorder(), require_origin=True),
        )
        client = site.client()
        smuggled = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = client.upgrade(path, *lines, early=smuggled)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        if field is not None:
            assert answer.headers[field[0]] == field[1]
        client.send(smuggled)
        loop.advance(5.2)
        assert client.pending() == b""
        assert client.transport.lost

    def test_origins(self, loop: ManualLoop) -> None:
        site = Site(
            loop,
            Route("/own", Recorder(), origins=["https://b.example"]),
            Route("/", Recorder()),
            origins=["https://a.example"],
        )
        for path, origin, status in (
            ("/", "http://server.example", 101),
            ("/", "https://a.example", 101),
            ("/", "https://b.example", 403),
            ("/own", "https://b.example", 101),
            ("/own", "https://a.example", 403),
        ):
            assert site.client().upgrade(path, f"Origin: {origin}").status == status

    def test_a_refused_origin_is_told_to_who_asks(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Site(loop, Route("/strict", Recorder(), require_origin=True))
        with caplog.at_level("DEBUG", "fastws.error"):
            site.client().upgrade("/strict", 'Origin: http://b.example/"')
            site.client().upgrade("/strict")
        assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
            '/strict refuses the origin http://b.example/\\"',
            "/strict refuses the origin none",
        ]

    def test_a_handler_beside_an_endpoint_of_other_methods(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", Recorder(), http=body, methods=["POST"]))
        assert site.client().upgrade("/").status == 101
        assert site.ask("/", method="GET").status == 405
        assert site.ask("/", "Content-Length: 0", method="POST").status == 200

    def test_compression_is_that_of_the_route(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", Recorder()), Route("/plain", Recorder(), compression=None))
        offer = "Sec-WebSocket-Extensions: permessage-deflate"
        assert "sec-websocket-extensions" in site.client().upgrade("/", offer).headers
        assert "sec-websocket-extensions" not in site.client().upgrade("/plain", offer).headers


class TestAuthorize:
    def site(self, loop: ManualLoop, authorize: Any, **settings: Any) -> tuple[Site, Recorder]:
        handler = Recorder()
        return Site(loop, Route("/", handler, authorize=authorize), **settings), handler

    @pytest.mark.parametrize("kind", ["sync", "async", "object"])
    @pytest.mark.parametrize(
        ("verdict", "status"), [(None, 101), (Response(401, "who?"), 401), (Response(200), 200), (True, 500)]
    )
    def test_verdicts(self, loop: ManualLoop, kind: str, verdict: Any, status: int) -> None:
        async def later(request: Request) -> Any:
            await asyncio.sleep(1)
            return verdict

        class Callable:
            def __call__(self, request: Request) -> Any:
                return later(request)

        given = {"sync": lambda request: verdict, "async": later, "object": Callable()}[kind]
        site, handler = self.site(loop, given)
        client = site.client()
        client.send(handshake() + frame(TEXT, "early"))
        loop.advance(0.5)
        if kind != "sync":
            assert client.pending() == b""
            client.send(frame(TEXT, "and more"))
            loop.advance(0.6)
        assert client.response().status == status
        if status == 101:
            assert handler.messages() == ["early", "and more"][: 1 if kind == "sync" else 2]
        else:
            assert handler.events == []
            loop.advance(5.2)
            assert client.transport.lost

    @pytest.mark.parametrize("when", ["now", "later"])
    def test_failures(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, when: str) -> None:
        def fails(request: Request) -> None:
            raise ValueError("broken")

        async def fails_later(request: Request) -> None:
            raise ValueError("broken")

        site, _ = self.site(loop, fails if when == "now" else fails_later)
        assert site.client().upgrade().status == 500
        assert "broken" in caplog.text

    def test_too_late(self, loop: ManualLoop) -> None:
        said: list[str] = []

        async def forever(request: Request) -> None:
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                said.append("cancelled")

        site, handler = self.site(loop, forever)
        client = site.client()
        client.send(handshake())
        loop.advance(9.9)
        assert client.pending() == b""
        loop.advance(0.2)
        assert statuses(client) == [503]
        assert said == ["cancelled"]
        loop.advance(5.2)
        assert client.transport.lost
        assert handler.events == []

    def test_the_time_is_that_of_the_route(self, loop: ManualLoop) -> None:
        async def slowly(request: Request) -> None:
            await asyncio.sleep(25)

        handler = Recorder()
        route = Route("/", handler, authorize=slowly, timeouts={"handshake": 30})
        client = Site(loop, route).client()
        client.send(handshake())
        loop.advance(26)
        assert client.response().status == 101

    @pytest.mark.parametrize("end", ["eof", "loss"])
    def test_the_client_goes_meanwhile(self, loop: ManualLoop, end: str) -> None:
        async def later(request: Request) -> None:
            await asyncio.sleep(1)

        site, handler = self.site(loop, later)
        client = site.client()
        client.send(handshake())
        if end == "eof":
            client.transport.feed_eof()
        else:
            client.transport.lose()
        loop.advance(2)
        assert client.transport.lost
        assert handler.events == []
        assert asyncio.all_tasks(loop) == set()

    def test_early_frames_are_bounded(self, loop: ManualLoop) -> None:
        async def later(request: Request) -> None:
            await asyncio.sleep(1)

        site, handler = self.site(loop, later)
        client = site.client()
        client.send(handshake())
        message = "x" * 10_000
        for _ in range(50):
            client.send(frame(TEXT, message))
        assert not client.transport.is_reading()
        assert EARLY_SIZE < client.connection.machine.early_bytes < EARLY_SIZE + 11_000
        loop.advance(1.1)
        assert handler.messages() == [message] * 50

    def test_the_answer_before_it_is_not_read_yet(self, loop: ManualLoop) -> None:
        async def later(request: Request) -> None:
            await asyncio.sleep(1)

        handler = Recorder()
        site = Site(
            loop,
            Route("/page", http=page),
            Route("/", handler, authorize=later, timeouts={"ping_interval": None}),
        )
        client = site.client()
        client.stall()
        client.send(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n" + handshake())
        loop.advance(1.1)
        client.text("held back")
        loop.settle()
        assert handler.messages() == []
        loop.advance(11)
        assert client.transport.lost
        assert handler.closes() == [(1006, "")]

    def test_an_eager_task(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        """asyncio.eager_task_factory runs a coroutine before create_task returns."""

        class Done:
            def cancel(self) -> bool:
                return False

        def eager(coroutine: Any, **options: Any) -> Any:
            with pytest.raises(StopIteration):
                coroutine.send(None)
            return Done()

        async def fine(request: Request) -> None:
            return None

        async def endpoint(request: Request) -> Response:
            return Response(200, "eager")

        site = Site(
            loop,
            Route("/", Recorder(), authorize=fine, timeouts={"ping_interval": None}),
            Route("/page", http=endpoint),
        )
        monkeypatch.setattr(loop, "create_task", eager)
        client = site.client()
        client.get("/page")
        client.get("/page")
        loop.settle()
        assert statuses(client) == [200, 200]
        assert client.upgrade().status == 101
        loop.advance(20)
        assert not client.transport.lost


class TestProxies:
    def peers(self, loop: ManualLoop, *requests: tuple[str, ...], **options: Any) -> list[Any]:
        """What an endpoint sees of each of these requests of one connection: peer and scheme."""
        seen: list[Any] = []

        def see(request: Request) -> Response:
            seen.append((request.peer, request.scheme))
            return Response()

        site = Site(loop, Route("/", http=see), proxy_headers=True, forwarded_allow_ips=["10.0.0.0/8"])
        client = site.client(**options)
        for headers in requests:
            client.get("/", *headers)
        loop.settle()
        return seen

    def test_each_request_of_a_proxys_connection_has_its_own(self, loop: ManualLoop) -> None:
        seen = self.peers(
            loop,
            ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"),
            ("X-Forwarded-For: 198.51.100.2",),
            (),
            peername=("10.1.2.3", 4000),
        )
        assert seen == [
            (("198.51.100.1", 0), "https"),
            (("198.51.100.2", 0), "http"),
            (("10.1.2.3", 4000), "http"),
        ]

    def test_others_are_not_believed(self, loop: ManualLoop) -> None:
        headers = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https")
        assert self.peers(loop, headers) == [(("192.0.2.1", 50000), "http")]

    def test_the_websocket_shows_it(self, loop: ManualLoop) -> None:
        handler = Recorder()
        site = Site(loop, Route("/", handler), proxy_headers=True)
        client = site.client(peername=("127.0.0.1", 1))
        client.upgrade("/", "X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https")
        assert handler.ws.peer == ("198.51.100.1", 0)
        assert handler.ws.request is not None
        assert handler.ws.request.scheme == "wss"

    def test_tls(self, loop: ManualLoop) -> None:
        seen: list[str] = []

        def see(request: Request) -> Response:
            seen.append(request.scheme)
            return Response()

        handler = Recorder()
        site = Site(loop, Route("/", handler, http=see))
        site.client(ssl_object=object()).get("/")
        site.client(ssl_object=object()).upgrade("/")
        assert handler.ws.request is not None
        assert [*seen, handler.ws.request.scheme, handler.ws.request.tls] == ["https", "wss", True]


class TestAccessLog:
    def lines(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, data: bytes) -> list[str]:
        site = Site(loop, Route("/", http=page), access_log=True)
        with caplog.at_level(logging.INFO, "fastws.access"):
            site.client().send(data)
            loop.settle()
        return [record.getMessage() for record in caplog.records if record.name == "fastws.access"]

    def test_a_response(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        (line,) = self.lines(loop, caplog, b"GET /?%1b[31m HTTP/1.1\r\nHost: a\r\n\r\n")
        assert line.startswith('192.0.2.1:50000 "GET /?%1b[31m HTTP/1.1" 200 13 bytes ')

    def test_a_refusal_of_no_request(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        (line,) = self.lines(loop, caplog, b"nonsense\r\n\r\n")
        assert line.startswith('192.0.2.1:50000 "- - HTTP/-" 400 ')

    def test_what_was_sent_instead(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        site = Site(loop, Route("/", http=lambda request: Response(103)), access_log=True)
        with caplog.at_level(logging.INFO, "fastws.access"):
            site.ask("/")
        assert " 500 26 bytes " in caplog.text

    def test_off(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        site = Site(loop, Route("/", http=page))
        with caplog.at_level(logging.INFO, "fastws.access"):
            site.ask("/")
        assert caplog.records == []
