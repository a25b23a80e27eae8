"""From a request to an open WebSocket, or to its refusal."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from fastws import Limits, Request, Response, Route, Static
from fastws.server.body_streams import STREAM_STEP_SIZE
from fastws.testing.wire import TEXT
from fastws.web.static_files import WHOLE_FILE_SIZE
from tests.kit import ManualLoop, Recorder, frame, handshake
from tests.server.sites import Site, body, page, statuses

EARLY_SIZE = Limits().max_early_size


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
        assert answer.headers["sec-websocket-protocol"] == "v2"
        assert (answer.headers["x-server"], answer.headers["x-more"]) == ("test", "yes")
        assert client.connection.ws.request.path_params == {"name": "a b"}
        assert client.connection.ws.subprotocol == "v2"
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
        with caplog.at_level("INFO", "fastws.error"):
            site.client().upgrade("/strict", 'Origin: http://b.example/"')
            site.client().upgrade("/strict")
        assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
            '/strict refuses the origin http://b.example/\\"',
            "/strict refuses the origin none",
        ]

    def test_so_many_refused_origins_fill_no_log(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Site(loop, Route("/", Recorder()))
        with caplog.at_level("INFO", "fastws.error"):
            for number in range(50):
                assert site.client().upgrade("/", f"Origin: https://{number}.example").status == 403
        assert len(caplog.records) == 10

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
        ("verdict", "status"),
        [(None, 101), (Response(401, "who?"), 401), (Response(200), 200), (True, 500)]
        + [(Response(status), 500) for status in (100, 101, 199, 600, 700)],
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
    @pytest.mark.parametrize("size", [0, 10, WHOLE_FILE_SIZE, WHOLE_FILE_SIZE + 1, 3 * STREAM_STEP_SIZE + 5])
    def test_a_file_may_be_the_verdict(self, loop: ManualLoop, tmp_path: Path, when: str, size: int) -> None:
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        (tmp_path / "big.bin").write_bytes(content)
        static = Static("/s", tmp_path)

        async def later(request: Request) -> Response:
            await asyncio.sleep(1)
            return static.respond(request, "big.bin")

        site, handler = self.site(
            loop, later if when == "later" else lambda request: static.respond(request, "big.bin")
        )
        client = site.client()
        client.send(handshake() + frame(TEXT, "early"))
        loop.advance(1.1)
        loop.settle()
        answer = client.response()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert answer.body == content
        loop.advance(5.2)
        assert client.transport.lost
        assert handler.events == []
        assert site.server.counters.http_responses == 1

    def test_a_stream_that_is_the_verdict_is_closed_when_the_client_goes(
        self, loop: ManualLoop, tmp_path: Path
    ) -> None:
        (tmp_path / "big.bin").write_bytes(bytes(9 * STREAM_STEP_SIZE))
        static, streams = Static("/s", tmp_path), []

        def authorize(request: Request) -> Response:
            response = static.respond(request, "big.bin")
            streams.append(response.stream)
            return response

        site, _ = self.site(loop, authorize)
        client = site.client()
        client.transport.room = 0
        client.send(handshake())
        loop.advance(1)
        client.transport.lose()
        loop.settle()
        assert streams[0].read(1) == b""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", [100, 101, 199])
    @pytest.mark.parametrize("target", ["/", "/page"])
    def test_a_response_that_cannot_be_sent(
        self,
        loop: ManualLoop,
        caplog: pytest.LogCaptureFixture,
        tmp_path: Path,
        target: str,
        status: int,
        stream: bool,
    ) -> None:
        (tmp_path / "big.bin").write_bytes(bytes(WHOLE_FILE_SIZE + 1))

        def verdict(request: Request) -> Response:
            response = Static("/s", tmp_path).respond(request, "big.bin") if stream else Response()
            response.status = status
            return response

        site = Site(loop, Route("/", Recorder(), authorize=verdict), Route("/page", http=verdict))
        client = site.client()
        client.send(handshake("/")) if target == "/" else client.get(target)
        loop.settle()
        assert client.response().status == 500
        assert f"a response with status {status} cannot be sent" in caplog.text

    @pytest.mark.parametrize("kind", [ValueError, BaseException, asyncio.CancelledError])
    @pytest.mark.parametrize("when", ["now", "later"])
    def test_failures(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, when: str, kind: type[BaseException]
    ) -> None:
        def fails(request: Request) -> None:
            raise kind("broken")

        async def fails_later(request: Request) -> None:
            raise kind("broken")

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
        assert handler.closes() == [(1006, "write timeout")]

    def test_an_eager_task(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        """asyncio.eager_task_factory runs a coroutine before create_task returns."""

        class Done:
            def cancel(self) -> bool:
                return False

        def eager(coroutine: Any, **options: Any) -> Any:
            with pytest.raises(StopIteration):
                copy_context().run(coroutine.send, None)
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
