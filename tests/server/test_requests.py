"""What is decided about a request: who may ask, what is not served, and how a body comes."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from fastws import ASGI, Request, Response, Route, Static, WebSocket
from fastws.server.site import MAX_WAITING_FOR_503
from tests.kit import ManualLoop, RawClient, Recorder
from tests.server.sites import Site, body, page, slow, statuses


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
        # A lazy object of Django would make its settings when it is asked for its class.
        assert not any(type(o) is bytes and o.startswith(b"unwantedunwanted") for o in gc.get_objects())

    def test_one_that_breaks_the_rules(self, loop: ManualLoop, client: RawClient) -> None:
        client.get("/", "Transfer-Encoding: chunked", method="POST")
        client.send(b"2\r\nhe\r\n")
        client.send(b"nonsense\r\n")
        assert statuses(client) == [400]
        loop.advance(6)
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

    @pytest.mark.parametrize("silent", [1, MAX_WAITING_FOR_503, MAX_WAITING_FOR_503 + 5])
    def test_who_is_within_the_limit_stays_within(self, loop: ManualLoop, silent: int) -> None:
        site = Site(loop, Route("/", http=page), Route("/ws", Recorder()), limit_concurrency=2)
        first, second = site.client(), site.client()
        others = [site.client() for _ in range(silent)]
        for _ in range(2):
            for client in (first, second):
                client.get("/")
                loop.settle()
                assert statuses(client) == [200]
        first.transport.lose()
        loop.settle()
        # The place is free for whoever asks first.
        others[0].get("/")
        loop.settle()
        assert statuses(others[0]) == [200]
        assert second.upgrade("/ws").status == 101

    def test_far_too_many_are_closed_unheard(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Site(loop, Route("/", http=page), limit_concurrency=2)
        clients = [site.client() for _ in range(2 + MAX_WAITING_FOR_503 + 3)]
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

    def behind_a_proxy(self, loop: ManualLoop) -> Site:
        async def stay(ws: WebSocket) -> None:
            await ws.wait_closed()

        routes = [
            Route("/", http=page),
            Route("/slow", http=slow),
            Route("/ws", stay),
            Route("/no", stay, authorize=lambda request: Response(403)),
        ]
        limits = {"limit_connections_per_address": 1, "limit_handshakes_per_address": 100}
        return Site(loop, *routes, proxy_headers=True, **limits)

    def test_behind_a_proxy_a_peer_is_counted_while_its_request_is_answered(self, loop: ManualLoop) -> None:
        site = self.behind_a_proxy(loop)
        clients = [site.client(peername=("127.0.0.1", port)) for port in (1, 2, 3)]
        for client, address in zip(clients, "223", strict=True):
            client.get("/slow?1", f"X-Forwarded-For: 192.0.2.{address}")
        loop.settle()
        loop.advance(1.0)
        assert [statuses(client) for client in clients] == [[200], [429], [200]]
        again = site.client(peername=("127.0.0.1", 4))
        again.get("/", "X-Forwarded-For: 192.0.2.2")
        loop.settle()
        assert statuses(again) == [200]

    @pytest.mark.parametrize("path", ["/", "/slow?0.1", "/missing"])
    def test_each_request_of_a_kept_connection_counts_for_its_own_peer(
        self, loop: ManualLoop, path: str
    ) -> None:
        site = self.behind_a_proxy(loop)
        kept = site.client(peername=("127.0.0.1", 1))
        kept.get(path, "X-Forwarded-For: 1.1.1.1")
        loop.settle()
        loop.advance(0.2)
        assert len(statuses(kept)) == 1
        assert kept.upgrade("/ws", "X-Forwarded-For: 2.2.2.2").status == 101
        others = [
            site.client(peername=("127.0.0.1", 2)).upgrade("/ws", f"X-Forwarded-For: {address}").status
            for address in ("2.2.2.2", "1.1.1.1")
        ]
        assert others == [429, 101]
        kept.vanish()
        kept.connection.abort()
        loop.settle()
        late = site.client(peername=("127.0.0.1", 3))
        assert late.upgrade("/ws", "X-Forwarded-For: 2.2.2.2").status == 101

    def test_who_was_refused_is_not_counted_while_the_connection_ends(self, loop: ManualLoop) -> None:
        site = self.behind_a_proxy(loop)
        refused = site.client(peername=("127.0.0.1", 1))
        assert refused.upgrade("/no", "X-Forwarded-For: 1.1.1.1").status == 403
        assert site.client(peername=("127.0.0.1", 2)).upgrade("/ws", "X-Forwarded-For: 1.1.1.1").status == 101

    def test_what_the_log_says_of_a_request_is_its_own_peer(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Site(loop, Route("/", http=page), proxy_headers=True, access_log=True)
        client = site.client(peername=("127.0.0.1", 9))
        with caplog.at_level("INFO", "fastws.access"):
            client.get("/", "X-Forwarded-For: 1.1.1.1")
            client.get("/")
            client.send(b"bad\r\n\r\n")
            loop.settle()
        assert [line.split()[0] for line in caplog.messages] == ["1.1.1.1", "127.0.0.1:9", "127.0.0.1:9"]


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

    def test_a_dual_stack_socket_shows_ipv4_clients_as_such(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = Recorder()
        limits = {"limit_connections_per_address": 1}
        site = Site(loop, Route("/", recorder), proxy_headers=True, access_log=True, **limits)
        mapped = ("::ffff:127.0.0.1", 40000, 0, 0)
        proxied = site.client(peername=mapped)
        assert proxied.upgrade("/", "X-Forwarded-For: 192.0.2.7").status == 101
        assert recorder.ws.peer == ("192.0.2.7", 0)
        direct = site.client(peername=("::ffff:192.0.2.9", 7, 0, 0))
        assert direct.upgrade().status == 101
        assert (recorder.ws.peer, recorder.ws.request.peer) == (("192.0.2.9", 7),) * 2
        same = site.client(peername=("192.0.2.9", 8))
        loop.settle()
        assert same.response().status == 429
        with caplog.at_level("INFO", "fastws.access"):
            direct.close()
            loop.settle()
        assert caplog.messages[-1].startswith('192.0.2.9:7 "WS /" closed')

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


class TestHosts:
    """DNS rebinding: a page whose name was made to lead here says that name in Host and in Origin."""

    KINDS = ("/ws", "/page", "/missing", "/app", "/static/x")

    def site(self, loop: ManualLoop, folder: Path, **settings: Any) -> Site:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"app"})

        (folder / "x").write_text("x")
        routes = [
            Route("/ws", Recorder()),
            Route("/page", http=page),
            Static("/static", folder),
            ASGI(app, lifespan="off"),
        ]
        return Site(loop, *routes, **settings)

    def status(self, site: Site, target: str, host: str, *, upgrade: bool) -> int:
        client = site.client()
        fields = f"Host: {host}\r\nOrigin: http://{host}\r\n"
        if upgrade:
            client.send(
                f"GET {target} HTTP/1.1\r\n{fields}Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
        else:
            client.send(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
        site.loop.settle()
        return client.response().status

    @pytest.mark.parametrize("target", KINDS)
    @pytest.mark.parametrize("upgrade", [False, True])
    def test_other_hosts_are_refused(
        self, loop: ManualLoop, tmp_path: Path, target: str, upgrade: bool
    ) -> None:
        site = self.site(loop, tmp_path, allowed_hosts=["localhost", "*.example.org"])
        for host in ("evil.example", "localhost.evil.example", "example.org", "127.0.0.1", ""):
            assert self.status(site, target, host, upgrade=upgrade) == 421
        assert self.status(site, f"http://evil.example{target}", "localhost", upgrade=upgrade) == 421
        for host in ("localhost", "localhost:8080", "LOCALHOST.", "a.b.example.org:1"):
            assert self.status(site, target, host, upgrade=upgrade) != 421
        assert self.status(site, f"http://localhost{target}", "evil.example", upgrade=upgrade) != 421

    def test_by_default_a_proxy_may_pass_any_name(self, loop: ManualLoop, tmp_path: Path) -> None:
        site = self.site(loop, tmp_path)
        assert self.status(site, "/page", "evil.example", upgrade=False) == 200
        assert self.status(site, "/ws", "evil.example", upgrade=True) == 101
