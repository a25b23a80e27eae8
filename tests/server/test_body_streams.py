"""Responses of async iterators: pieces as the socket takes them, and every way in which one ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

import fastws
from fastws import Response, Route
from fastws.server.body_streams import close_stream
from tests.kit import ManualLoop, RawClient, Recorder, handshake
from tests.kit.body_pieces import FOREVER, Pieces
from tests.server.sites import Site, page


def streaming(loop: ManualLoop, stream: Any, *headers: str, method: str = "GET", **options: Any) -> RawClient:
    """A client that has asked for a response with this stream."""
    site = Site(
        loop, Route("/", http=lambda request: Response(stream=stream, **options)), Route("/next", http=page)
    )
    client = site.client()
    client.get("/", *headers, method=method)
    loop.settle()
    return client


class TestFraming:
    def test_in_chunks_and_the_connection_goes_on(self, loop: ManualLoop) -> None:
        stream = Pieces(b"he", "llö", b"", bytearray(b"!"))
        client = streaming(loop, stream)
        head, _, rest = client.pending().partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        assert rest == b"2\r\nhe\r\n4\r\nll\xc3\xb6\r\n1\r\n!\r\n0\r\n\r\n"
        assert (client.response().body, stream.said) == ("hellö!".encode(), ["closed"])
        client.get("/next")
        loop.settle()
        assert client.response().body == b"GET /next"

    def test_what_was_pipelined_is_answered_behind_it(self, loop: ManualLoop) -> None:
        site = Site(
            loop, Route("/", http=lambda request: Response(stream=Pieces(b"one"))), Route("/next", http=page)
        )
        client = site.client()
        request = b" HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(b"GET /" + request + b"GET /next" + request)
        client.get("/next")
        loop.settle()
        assert [answer.body for answer in client.responses()] == [b"one", b"GET /next", b"GET /next"]

    def test_a_client_of_http_1_0_has_it_up_to_the_end(self, loop: ManualLoop) -> None:
        client = Site(loop, Route("/", http=lambda request: Response(stream=Pieces(b"he", b"llo")))).client()
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        loop.settle()
        head, _, body = client.pending().partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower() and b"connection: close" in head.lower()
        assert body == b"hello"
        assert client.transport.eof_written

    def test_of_a_given_length(self, loop: ManualLoop) -> None:
        client = streaming(loop, Pieces(b"he", b"llo"), headers=[("Content-Length", "5")])
        answer = client.response()
        assert (answer.body, answer.headers["content-length"]) == (b"hello", "5")
        assert "transfer-encoding" not in answer.headers

    @pytest.mark.parametrize(
        ("pieces", "sent", "said"),
        [
            ([b"he"], b"he", "shorter"),
            ([b"he", b"lloh", b"more"], b"he", "longer"),
            ([], b"", "shorter"),
        ],
    )
    def test_that_is_not_of_its_length(
        self, pieces: list[bytes], sent: bytes, said: str, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = Pieces(*pieces)
        client = streaming(loop, stream, headers=[("Content-Length", "5")])
        assert client.pending().partition(b"\r\n\r\n")[2] == sent
        assert client.transport.aborted
        assert stream.said == ["closed"]
        assert len(caplog.records) == 1
        assert f"is {said} than its Content-Length" in caplog.text

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    def test_without_a_body(self, method: str, status: int, loop: ManualLoop) -> None:
        stream = Pieces(b"hello")
        client = streaming(loop, stream, method=method, status=status)
        answer = client.response(head_only=True)
        assert (answer.status, stream.asked, stream.said) == (status, 0, ["closed"])
        client.get("/next")
        loop.settle()
        assert client.response().body == b"GET /next"

    def test_head_says_how_get_would_be_framed(self, loop: ManualLoop) -> None:
        answer = streaming(loop, Pieces(b"x"), method="HEAD").response(head_only=True)
        assert answer.headers["transfer-encoding"] == "chunked"

    def test_the_last_response_of_a_server_that_leaves(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", http=lambda request: Response(stream=Pieces(b"x"))))
        client = site.client()
        site.server.stop_listening()
        client.get("/")
        loop.settle()
        assert client.response().headers["connection"] == "close"
        assert client.transport.eof_written

    def test_authorize_may_answer_with_one(self, loop: ManualLoop) -> None:
        refusal = Response(403, stream=Pieces(b"no ", b"entry"))
        client = Site(loop, Route("/", Recorder(), authorize=lambda request: refusal)).client()
        client.send(handshake())
        loop.settle()
        head, _, body = client.pending().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 ") and b"Connection: close" in head
        assert (body, client.transport.eof_written) == (b"no entry", True)

    async def test_a_generator_needs_nothing_else(self) -> None:
        async def numbers() -> AsyncIterator[str]:
            for number in range(3):
                yield f"{number}\n"
                await asyncio.sleep(0)

        async def respond(request: fastws.Request) -> Response:
            return Response(stream=numbers(), content_type="text/plain")

        async with fastws.serve(Route("/", http=respond), "127.0.0.1", 0, access_log=False) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\n0\n1\n2\n")
            writer.close()


class TestPace:
    def test_nothing_is_asked_for_while_the_socket_refuses(self, loop: ManualLoop) -> None:
        stream = Pieces(*[b"x" * 1000] * 200)
        client = Site(loop, Route("/", http=lambda request: Response(stream=stream))).client()
        client.stall(500)
        client.get("/")
        loop.settle()
        asked = stream.asked
        assert asked < 100
        loop.advance(5)
        assert stream.asked == asked
        while not stream.said:
            client.read(50_000)
            loop.settle()
            assert client.connection.outbox.buffered_amount < 100_000
        client.read()
        assert len(client.response().body) == 200_000

    def test_small_pieces_of_a_turn_leave_together(self, loop: ManualLoop) -> None:
        client = streaming(loop, Pieces(*[b"x"] * 50))
        assert len(client.transport.writes) <= 2

    def test_large_pieces_wait_for_their_write(self, loop: ManualLoop) -> None:
        stream = Pieces(*[b"x" * 100_000] * 50)
        site = Site(loop, Route("/", http=lambda request: Response(stream=stream)))
        client = site.client()
        client.stall(150_000)
        client.get("/")
        loop.settle()
        assert stream.asked <= 3
        client.stall(None)

    def test_a_client_that_takes_nothing_is_cut(self, loop: ManualLoop) -> None:
        stream = Pieces(*[b"x" * 100_000] * 50)
        site = Site(loop, Route("/", http=lambda request: Response(stream=stream)), timeouts={"write": 10})
        client = site.client()
        client.stall(1000)
        client.get("/")
        loop.advance(12)
        assert client.transport.lost
        assert stream.said == ["closed"]

    def test_what_a_client_pipelines_meanwhile_is_bounded(self, loop: ManualLoop) -> None:
        client = streaming(loop, Pieces(FOREVER))
        assert client.transport.is_reading()
        client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n" * 3000)
        loop.settle()
        assert not client.transport.is_reading()
        client.transport.lose()


class TestEnds:
    @pytest.mark.parametrize("leave", ["lost", "ended"])
    def test_a_client_that_leaves(
        self, leave: str, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = Pieces(b"one", FOREVER)
        client = streaming(loop, stream)
        if leave == "lost":
            client.transport.lose()
        else:
            client.transport.feed_eof()
        loop.settle()
        assert stream.said == ["cancelled", "closed"]
        assert caplog.records == []

    def test_a_generator_that_is_not_being_asked(self, loop: ManualLoop) -> None:
        said: list[str] = []

        async def generator() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                said.append("closed")

        site = Site(loop, Route("/", http=lambda request: Response(stream=generator())))
        client = site.client()
        client.stall(1000)
        client.get("/")
        loop.settle()
        assert said == []
        client.transport.lose()
        loop.settle()
        assert said == ["closed"]

    def test_an_iterator_that_goes_on_where_it_is_cancelled(self, loop: ManualLoop) -> None:
        said: list[str] = []

        async def stubborn() -> AsyncIterator[bytes]:
            try:
                while True:
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        said.append("cancelled")
                    yield b"more"
            finally:
                said.append("closed")

        client = streaming(loop, stubborn())
        client.transport.lose()
        loop.settle()
        assert said == ["cancelled", "closed"]

    @pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError()])
    def test_it_raises(
        self, error: BaseException, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = Pieces(b"one", error)
        client = streaming(loop, stream)
        assert client.pending().endswith(b"\r\n\r\n3\r\none\r\n")
        assert client.transport.aborted
        assert stream.said == ["closed"]
        (record,) = caplog.records
        assert record.getMessage() == "the body of / failed"

    def test_it_gives_no_bytes(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        client = streaming(loop, Pieces(7))
        assert client.transport.aborted
        assert "a piece of a body is bytes or str, not int" in caplog.text

    def test_it_cannot_begin(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        class Broken:
            def __aiter__(self) -> Broken:
                raise ValueError("broken")

        assert streaming(loop, Broken()).response().status == 500
        assert len(caplog.records) == 1

    def test_its_head_cannot_be_sent(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        stream = Pieces(b"x")
        client = streaming(loop, stream, headers=[("Content-Length", "5"), ("Content-Length", "6")])
        assert (client.response().status, stream.asked, stream.said) == (500, 0, ["closed"])
        assert len(caplog.records) == 1

    def test_it_cannot_be_closed(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        class Sticky(Pieces):
            async def aclose(self) -> None:
                raise OSError("sticky")

        client = streaming(loop, Sticky(b"one"))
        assert client.transport.aborted
        assert len(caplog.records) == 1
        caplog.clear()
        assert streaming(loop, Sticky(b"one"), method="HEAD").response(head_only=True).status == 200
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_the_end_of_the_process(self, kind: type[BaseException], loop: ManualLoop) -> None:
        with pytest.raises(kind):
            streaming(loop, Pieces(kind()))

    def test_nothing_is_left_in_memory(self, loop: ManualLoop) -> None:
        client = streaming(loop, Pieces(b"one", FOREVER))
        site_tasks = client.connection.host._site.tasks
        assert len(site_tasks) == 1
        client.transport.lose()
        loop.settle()
        gc.collect()
        assert not site_tasks


class TestTheServerStops:
    def shut(self, loop: ManualLoop, stream: Any) -> tuple[RawClient, asyncio.Task[None]]:
        site = Site(loop, Route("/", http=lambda request: Response(stream=stream)))
        client = site.client()
        client.get("/")
        loop.settle()
        return client, loop.create_task(site.server.shutdown(5))

    def test_it_has_the_time_that_the_server_gives(self, loop: ManualLoop) -> None:
        stream = Pieces(b"one", FOREVER)
        client, stop = self.shut(loop, stream)
        loop.advance(4)
        assert (stream.said, stop.done()) == ([], False)
        loop.advance(2)
        assert stream.said == ["cancelled", "closed"]
        assert stop.done() and client.transport.aborted

    def test_a_finite_one_is_sent_to_its_end(self, loop: ManualLoop) -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(3)
            yield b"two"

        client, stop = self.shut(loop, slow())
        loop.advance(4)
        assert client.response().body == b"onetwo"
        client.transport.feed_eof()
        loop.settle()
        assert stop.done()

    @pytest.mark.parametrize("fails", [False, True])
    def test_it_is_told_once(self, fails: bool, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        class Told(Pieces):
            def __init__(self) -> None:
                super().__init__()
                self.over = loop.create_future()

            async def __anext__(self) -> bytes:
                await self.over
                raise StopAsyncIteration

            def server_stops(self) -> None:
                self.said.append("told")
                self.over.set_result(None)
                if fails:
                    raise ValueError("broken")

        stream = Told()
        client, stop = self.shut(loop, stream)
        loop.settle()
        assert stream.said == ["told", "closed"]
        assert client.pending().endswith(b"0\r\n\r\n")
        client.transport.feed_eof()
        loop.settle()
        assert stop.done()
        assert len(caplog.records) == fails

    def test_a_generator_that_does_not_end_when_cancelled(self, loop: ManualLoop) -> None:
        ended: list[str] = []

        async def stubborn() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await asyncio.sleep(3600)
            finally:
                try:
                    await asyncio.sleep(3600)
                finally:
                    ended.append("ended")

        _, stop = self.shut(loop, stubborn())
        loop.advance(8)
        assert (ended, stop.done()) == (["ended"], True)


class TestAccessLog:
    def lines(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "fastws.access"]

    def test_with_the_bytes_that_were_sent(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        streams = [Pieces(b"hello", b"you"), Pieces(b"hello", FOREVER)]
        site = Site(loop, Route("/", http=lambda request: Response(stream=streams.pop(0))), access_log=True)
        client = site.client()
        with caplog.at_level(logging.INFO, "fastws.access"):
            client.get("/")
            loop.settle()
            client.get("/")
            loop.settle()
            assert len(self.lines(caplog)) == 1
            client.transport.lose()
            loop.settle()
        whole, cut = self.lines(caplog)
        assert " 200 8 bytes " in whole
        assert " 200 5 bytes " in cut


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"stream": [b"x"]}, "list is neither"),
            ({"stream": b"x"}, "bytes is neither"),
            ({"stream": Pieces, "body": b"x"}, "not both"),
        ],
    )
    def test_what_is_no_stream(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(TypeError, match=text):
            Response(200, **options)

    def test_an_answer_after_it_was_given_up(self, loop: ManualLoop) -> None:
        stream = Pieces(b"x")

        async def stubborn(request: fastws.Request) -> Response:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            return Response(stream=stream)

        client = Site(loop, Route("/", http=stubborn)).client()
        client.get("/")
        loop.settle()
        client.transport.lose()
        loop.settle()
        assert (stream.asked, stream.said) == (0, ["closed"])


@pytest.mark.parametrize(
    "error", [ValueError("x"), BaseException("as a panic of pyo3"), asyncio.CancelledError()]
)
async def test_a_stream_that_cannot_be_closed_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Pieces):
        async def aclose(self) -> None:
            raise error

    await close_stream(Response(stream=Broken()))
    assert caplog.messages == ["closing a body failed"]
