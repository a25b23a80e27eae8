"""The server's phase of a connection: requests in order, their times, and the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastws import Limits, Request, Response, Route
from fastws.testing.wire import TEXT
from tests.kit import ManualLoop, Recorder, frame, handshake
from tests.kit.served import Panic
from tests.server.sites import Site, body, page, slow, statuses

PIPELINED = Limits().pipelined_requests


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


class Stream:
    length = 5

    def read(self, n: int) -> bytes:
        raise AssertionError

    def close(self) -> None:
        pass


class TestFailures:
    """What an application does wrong is answered 500 and told in the log; the connection goes on."""

    @staticmethod
    def raises(request: Request) -> Response:
        raise ValueError("broken")

    @staticmethod
    async def raises_later(request: Request) -> Response:
        raise ValueError("broken")

    @staticmethod
    def panics(request: Request) -> Response:
        raise Panic

    @staticmethod
    async def panics_later(request: Request) -> Response:
        raise Panic

    @staticmethod
    def cancelled(request: Request) -> Response:
        raise asyncio.CancelledError

    @staticmethod
    async def cancelled_later(request: Request) -> Response:
        raise asyncio.CancelledError

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
    def invalid(request: Request) -> Response:
        return Response(700)

    @staticmethod
    def stream_that_splits(request: Request) -> Response:
        return Response(200, "", [("X", "a\r\nSet-Cookie: b")], stream=Stream())

    @staticmethod
    def strange_body(request: Request) -> Response:
        return Response(200, 5)  # type: ignore[arg-type]

    @staticmethod
    def splits(request: Request) -> Response:
        return Response(200, "", [("X", "a\r\nSet-Cookie: b")])

    @pytest.mark.parametrize(
        "name",
        [
            "raises",
            "raises_later",
            "panics",
            "panics_later",
            "cancelled",
            "cancelled_later",
            "no_response",
            "no_response_later",
            "interim",
            "invalid",
            "stream_that_splits",
            "strange_body",
            "splits",
        ],
    )
    def test_500(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, name: str) -> None:
        client = Site(loop, Route("/", http=getattr(self, name)), Route("/fine", http=page)).client()
        client.get("/")
        client.get("/fine")
        loop.settle()
        broken, fine = client.responses()
        assert (broken.status, broken.body, fine.status) == (500, b"500 Internal Server Error\n", 200)
        assert caplog.records

    @pytest.mark.parametrize("kind", [ValueError, Panic, asyncio.CancelledError])
    def test_a_stream_that_cannot_be_read_ends_the_connection(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
    ) -> None:
        class Stream:
            length = 5

            def read(self, n: int) -> bytes:
                raise kind

            def close(self) -> None:
                closed.append(True)

        closed: list[bool] = []
        client = Site(loop, Route("/", http=lambda request: Response(200, stream=Stream()))).client()
        client.get("/")
        loop.settle()
        assert client.transport.lost and closed == [True]
        assert "reading a body failed" in caplog.text

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
