"""Which path leads where, and with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastws import Compression, Handler, Limits, Request, Response, Route, Settings, Static, Timeouts
from fastws.web.routes import Endpoint, Router, changed


def page(request: Request) -> Response:
    return Response()


def router(*routes: Any, settings: Settings | None = None) -> Router:
    return Router(routes, settings or Settings(), lambda handler: handler)


def endpoint(settings: Settings | None = None, **options: Any) -> Endpoint:
    found = router(Route("/", Handler(), **options), settings=settings).match(Request())
    assert found is not None
    return found


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "target", "params"),
        [
            ("/", "/", {}),
            ("/a/b", "/a/b", {}),
            ("/ü", "/%c3%bc", {}),
            ("/room/{name}", "/room/x", {"name": "x"}),
            ("/room/{name}", "/room/a%20b%C3%BC", {"name": "a bü"}),
            ("/{a}/x/{b_2}", "/1/x/2", {"a": "1", "b_2": "2"}),
            ("/{a}.{b}", "/1.2.3", {"a": "1.2", "b": "3"}),
            ("/a+b/{c}", "/a+b/x", {"c": "x"}),
            ("/{rest:path}", "/", {"rest": ""}),
            ("/{rest:path}", "/a/b%0Ac", {"rest": "a/b\nc"}),
            ("/files/{rest:path}/end", "/files/a/b/end", {"rest": "a/b"}),
            ("/odd{", "/odd{", {}),
            ("/{not a name}", "/{not%20a%20name}", {}),
        ],
    )
    def test_match(self, path: str, target: str, params: dict[str, str]) -> None:
        request = Request("GET", target)
        assert router(Route(path, http=page)).match(request) is not None
        assert request.path_params == params

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/", "/x"),
            ("/a", "/a/"),
            ("/a", "/A"),
            ("/room/{name}", "/room/"),
            ("/room/{name}", "/room/a/b"),
            ("/room/{name}", "/room/a%2Fb"),
            ("/room/{name}", "/rooms/a"),
            ("/a.b/{c}", "/aXb/c"),
        ],
    )
    def test_no_match(self, path: str, target: str) -> None:
        assert router(Route(path, http=page)).match(Request("GET", target)) is None

    def test_exact_paths_come_first_then_patterns_in_order_then_folders(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        routes = [
            Static("/files/", tmp_path),
            Static("/files/deep/", tmp_path / "deep"),
            Route("/{first}", http=page, subprotocols=["first"]),
            Route("/{second}", http=page, subprotocols=["second"]),
            Route("/exact", http=page, subprotocols=["exact"]),
        ]
        one = router(*routes)
        requests = {
            target: Request("GET", target)
            for target in ("/exact", "/x", "/files/a/b", "/files/deep/c", "/y/z")
        }
        found = {target: one.match(request) for target, request in requests.items()}
        assert [e.subprotocols for t in ("/exact", "/x") if (e := found[t])] == [("exact",), ("first",)]
        assert found["/y/z"] is None
        assert requests["/files/a/b"].path_params == {"path": "a/b"}
        assert requests["/files/deep/c"].path_params == {"path": "c"}
        assert len(one.endpoints) == 5

    def test_a_folder_answers(self, tmp_path: Path) -> None:
        (tmp_path / "hello.txt").write_text("hello")
        request = Request("GET", "/files/hello.txt")
        found = router(Static("/files", tmp_path)).match(request)
        assert found is not None
        assert found.http is not None
        response = found.http(request)
        assert isinstance(response, Response)
        assert (response.status, response.body) == (200, b"hello")
        assert (found.callbacks, found.tasks) == (None, set())


class TestMistakes:
    @pytest.mark.parametrize(
        ("make", "kind", "match"),
        [
            (lambda: Route("room", page), ValueError, "begins with"),
            (lambda: Route("/"), TypeError, "neither"),
            (lambda: router(Route("/", http=page), Route("/", http=page)), ValueError, "two routes"),
            (lambda: router(Route("/{a}/{a}", http=page)), ValueError, "no pattern"),
            (lambda: router("/"), TypeError, "a route is"),
            (lambda: router(Route("/", http="page")), TypeError, "not callable"),  # type: ignore[arg-type]
            (lambda: endpoint(authorize=lambda: None), TypeError, r"called with \(request\)"),
            (lambda: endpoint(authorize=lambda request, other: None), TypeError, r"called with \(request\)"),
            (lambda: endpoint(headers=[("X", "a\r\nb")]), ValueError, "value"),
            (lambda: endpoint(headers=[("Upgrade", "x")]), ValueError, "belongs to the handshake"),
            (lambda: endpoint(Settings(headers=((b"connection", b"x"),))), ValueError, "belongs"),
            (lambda: endpoint(limits={"no_such_limit": 1}), TypeError, "no_such_limit"),
            (lambda: endpoint(limits={"max_head_size": 4096}), ValueError, "max_head_size .* before"),
            (lambda: endpoint(limits=Limits(max_headers=9)), ValueError, "max_headers .* before"),
            (lambda: endpoint(timeouts={"keep_alive": 1.0}), ValueError, "keep_alive .* before"),
            (lambda: endpoint(timeouts={"tls_handshake": None}), ValueError, "tls_handshake .* before"),
            (lambda: endpoint(origins="https://a"), TypeError, "origins= is a list"),
            (lambda: endpoint(origins=["app.example"]), ValueError, "'app.example' is not an origin"),
            (lambda: endpoint(subprotocols="chat"), TypeError, "subprotocols= is a list of names"),
            (lambda: Route("/", http=page, methods="POST"), TypeError, "methods= is a list"),
        ],
    )
    def test_at_once(self, make: Any, kind: type[Exception], match: str) -> None:
        """When the route is made or the server starts; not when the first client comes."""
        with pytest.raises(kind, match=match):
            make()

    @pytest.mark.parametrize(
        "authorize", [lambda request: None, lambda request, database=None: None, lambda *args: None, Response]
    )
    def test_what_takes_the_request(self, authorize: Any) -> None:
        assert endpoint(authorize=authorize).authorize is authorize


class TestSettings:
    def test_the_servers_own_without_others(self) -> None:
        settings = Settings(
            limits=Limits(send_queue=7),
            timeouts=Timeouts(write=3.0),
            compression=None,
            origins=frozenset(["https://a.example"]),
            require_origin=True,
            headers=((b"X-Server", b"test"),),
        )
        found = endpoint(settings)
        assert (found.limits, found.timeouts, found.compression) == (settings.limits, settings.timeouts, None)
        assert (found.origins, found.require_origin, found.headers) == (
            settings.origins,
            True,
            settings.headers,
        )
        assert found.methods == ("GET",)

    def test_a_routes_own_win(self) -> None:
        found = endpoint(
            Settings(limits=Limits(send_queue=7), headers=((b"X-Server", b"test"), (b"X-More", b"1"))),
            limits={"max_message_size": 512},
            timeouts=Timeouts(ping_interval=54.0),
            compression=Compression(level=9),
            origins=["https://b.example"],
            require_origin=True,
            subprotocols=["v1", "v2"],
            headers=[("x-server", "mine")],
        )
        assert (found.limits.max_message_size, found.limits.send_queue) == (512, 7)
        assert found.timeouts.ping_interval == 54.0
        assert found.compression == Compression(level=9)
        assert (found.origins, found.require_origin) == (frozenset(["https://b.example"]), True)
        assert found.subprotocols == ("v1", "v2")
        assert found.headers == ((b"x-server", b"mine"), (b"X-More", b"1"))
        assert endpoint(compression=None).compression is None

    def test_parts_of_messages_are_not_compressed(self) -> None:
        class InParts(Handler):
            takes_parts = True

        (found,) = router(Route("/", InParts())).endpoints
        assert found.compression is None

    def test_methods(self) -> None:
        def methods(**options: Any) -> tuple[str, ...]:
            (found,) = router(Route("/", http=page, **options)).endpoints
            return found.methods

        assert methods() == ("GET", "HEAD")
        assert methods(methods=["POST", "GET", "HEAD"]) == ("POST", "GET", "HEAD")
        assert methods(methods=["POST"]) == ("POST",)

    def test_changed(self) -> None:
        base = Limits()
        assert changed(base, None) is base
        assert changed(base, {}) == base
        assert changed(base, Limits(send_queue=1)) == Limits(send_queue=1)


class TestSome:
    """Of the routes of a server those that one listener serves."""

    def test_only(self, tmp_path: Path) -> None:
        every = router(
            Route("/a", Handler()),
            Route("/b/{x}", Handler()),
            Route("/c/{y}", Handler()),
            Static("/s", tmp_path),
        )
        assert every.paths == ["/a", "/b/{x}", "/c/{y}", "/s/"]
        some = every.only(["/c/{y}", "/s/"])
        assert some.paths == ["/c/{y}", "/s/"]
        assert [some.match(Request(target=target)) is None for target in ("/a", "/b/1", "/c/1", "/s/f")] == [
            True, True, False, False,
        ]  # fmt: skip
        assert every.match(Request(target="/a")) is not None

    def test_what_there_is_not(self) -> None:
        with pytest.raises(ValueError, match="there is no route '/b'"):
            router(Route("/a", Handler())).only(["/a", "/b"])
        with pytest.raises(TypeError, match="routes= is a list of names"):
            router(Route("/a", Handler())).only("/a")
