"""Streams, as the socket takes them, and the line of each response in the access log."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest

from fastws import ASGI, Request, Response, Route, Static
from tests.kit import ManualLoop, RawClient
from tests.server.sites import Site, page


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


async def asgi_page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"whole"})


@pytest.mark.parametrize("target", ["/", "/large.bin", "/app"])
def test_each_response_is_the_last_of_its_connection_once_nobody_listens(
    target: str, loop: ManualLoop, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * TestStreams.SIZE)
    routes = [Route("/", http=page), Static("/", tmp_path)] if target != "/app" else []
    site = Site(loop, *routes or [ASGI(asgi_page, lifespan="off")])
    client = site.client()
    client.get(target)
    loop.settle()
    assert "connection" not in client.response().headers
    site.server.stop_listening()
    for _ in range(2):
        client.get(target)
    loop.settle()
    (last,) = client.responses()
    assert (last.status, last.headers["connection"]) == (200, "close")


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
