"""The line of a WebSocket that has ended, and what lines say of their request."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import fastws
from fastws import Handler, Hub, Request, Response, Route, SlowConsumerPolicy, WebSocket
from fastws.cli.access_format import AccessFormatter
from fastws.log_output import JSONFormatter, RequestIdFilter
from tests.kit import ManualLoop, Recorder
from tests.kit.served import opened, served, stall
from tests.server.sites import Site

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"


class Lines(logging.Handler):
    """Keeps what both formatters make of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.json: list[dict[str, Any]] = []
        self.text: list[str] = []
        self.own = "{event}|{peer}|{request_id}|{user}|{route}|{code}|{status}|{seconds:>8}"
        self.addFilter(RequestIdFilter())

    def emit(self, record: logging.LogRecord) -> None:
        line = JSONFormatter().format(record)
        assert line.isascii() and line.isprintable()
        self.json.append(json.loads(line))
        self.text.append(record.getMessage())
        AccessFormatter(self.own, "utc").format(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger = logging.getLogger("fastws")
    found, before = Lines(), logger.level
    logger.addHandler(found)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(found)
    logger.setLevel(before)


def closed(lines: Lines) -> dict[str, Any]:
    (line,) = [each for each in lines.json if each.get("event") == "websocket"]
    return line


def test_what_went_through_it(loop: ManualLoop, lines: Lines) -> None:
    def authorize(request: Request) -> None:
        request.user = fastws.User("alice")

    route = Route("/rooms/{name}", Recorder(echo=True), authorize=authorize)
    client = opened(
        loop, route, TRACEPARENT, 'User-Agent: a\x80"b', path="/rooms/blue?token=secret", access_log=True
    )
    client.text("hello")
    client.close(4000, "bye\u2028now")
    loop.settle()
    line = closed(lines)
    del line["time"], line["message"], line["seconds"]
    assert line == {
        "level": "info", "logger": "fastws.access", "event": "websocket", "peer": "192.0.2.1:50000",
        "request_id": TRACE, "trace_id": TRACE, "method": "GET", "target": "/rooms/blue?token=***",
        "path": "/rooms/blue", "route": "/rooms/{name}", "version": "1.1", "user": "alice",
        "user_agent": 'a\xc2\x80"b', "code": 4000, "reason": "bye\u2028now", "initiator": "peer",
        "messages_received": 1, "bytes_received": 28, "messages_sent": 1, "bytes_sent": 7,
        "peak_queue": 0, "dropped": 0, "resumed": 0,
    }  # fmt: skip
    (text,) = lines.text
    assert text.endswith(f"out 1 messages 7 bytes, user alice, id {TRACE}")


def test_the_longest_queue_and_what_was_dropped(loop: ManualLoop, lines: Lines) -> None:
    hub = Hub("of-the-log", policy=SlowConsumerPolicy.DROP_OLDEST, broker="memory")
    handler = Recorder()
    client = opened(loop, handler, access_log=True, limits={"send_queue": 3})
    hub.subscribe(handler.ws, "t")
    stall(loop, client, handler.ws)
    for number in range(5):
        hub.publish("t", str(number))
        loop.settle()
    loop.advance(30)
    line = closed(lines)
    assert (line["peak_queue"], line["dropped"], line["initiator"], line["code"]) == (3, 2, "server", 1006)
    assert ", peak queue 3, dropped 2, id " in lines.text[-1]


def test_who_takes_nothing_is_cut_by_the_server(loop: ManualLoop, lines: Lines) -> None:
    handler = Recorder()
    client = opened(loop, handler, access_log=True, timeouts={"write": 2, "ping_interval": None})
    stall(loop, client, handler.ws)
    loop.advance(30)
    line = closed(lines)
    assert (line["code"], line["reason"], line["initiator"]) == (1006, "write timeout", "server")


def test_a_line_that_is_read_later_says_what_was_so_then(loop: ManualLoop, lines: Lines) -> None:
    site = Site(loop, Route("/", http=lambda request: Response(204)), access_log=True)
    site.ask("/none")
    (line,) = lines.json
    assert (line["event"], line["status"], line["bytes"], line.get("route")) == ("response", 404, 14, None)


class TestCurrentRequest:
    """Which request the code that runs was called for."""

    def test_in_what_answers_a_request(self, loop: ManualLoop, lines: Lines) -> None:
        seen: list[Any] = []

        def page(request: Request) -> Response:
            seen.append(fastws.current_request() is request)
            logging.getLogger("fastws.mine").info("in a page")
            return Response(204)

        async def later(request: Request) -> Response:
            await asyncio.sleep(0)
            seen.append(fastws.current_request() is request)
            return Response(204)

        site = Site(loop, Route("/", http=page), Route("/later", http=later))
        assert site.ask("/", "X-Request-ID: abc").status == 204
        assert site.ask("/later").status == 204
        assert seen == [True, True]
        assert fastws.current_request() is None
        (line,) = [line for line in lines.json if line["logger"] == "fastws.mine"]
        assert line["request_id"] == "abc"

    def test_in_a_handler_and_its_tasks(self, loop: ManualLoop) -> None:
        seen: list[bool] = []

        async def child(ws: WebSocket) -> None:
            seen.append(fastws.current_request() is ws.request)

        async def handler(ws: WebSocket) -> None:
            assert ws.request is not None and ws.request_id == ws.request.request_id == "abc"
            await ws.recv()
            await asyncio.create_task(child(ws))
            seen.append(fastws.current_request() is ws.request)

        client = opened(loop, handler, "X-Request-ID: abc")
        client.text("go")
        loop.settle()
        assert seen == [True, True]
        assert fastws.current_request() is None

    def test_in_an_authorize_and_an_async_on_open(self, loop: ManualLoop) -> None:
        seen: list[bool] = []

        async def authorize(request: Request) -> None:
            await asyncio.sleep(0)
            seen.append(fastws.current_request() is request)

        class Opens(Handler):
            async def on_open(self, ws: WebSocket) -> None:  # type: ignore[override]
                seen.append(fastws.current_request() is ws.request)

            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                seen.append(fastws.current_request() is None)

        client = opened(loop, Route("/", Opens(), authorize=authorize))
        client.text("go")
        loop.settle()
        assert seen == [True, True, True]

    def test_a_callback_that_fails_names_its_client(self, loop: ManualLoop, lines: Lines) -> None:
        class Fails(Handler):
            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                raise RuntimeError("as asked")

        client = opened(loop, Fails(), "X-Request-ID: abc")
        client.text("go")
        loop.settle()
        (line,) = [line for line in lines.json if "exception" in line]
        assert line["request_id"] == "abc"


class TestListenersWithRoutes:
    def test_each_serves_its_own(self, loop: ManualLoop) -> None:
        server = served(loop, [Route("/a", http=lambda request: Response(204)), Route("/b", Recorder())])
        site = server._site
        connections = [site.only(paths, server._accept)() for paths in (["/a"], ["/b"])]
        for connection in connections:
            site.came_by(connection)
        routers = [site.router_of(connection) for connection in connections]
        assert [router.paths for router in routers] == [["/a"], ["/b"]]
        assert site.router_of(object()) is site.router
        for connection in connections:
            site.connection_lost(connection)
        assert site.routers == {}

    def test_an_unknown_route(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder())

        async def listen() -> None:
            await server.listen("127.0.0.1", 0, routes=["/none"])

        with pytest.raises(ValueError, match="there is no route '/none'"):
            loop.run(listen())


def test_a_user_of_a_feed_is_the_user_of_its_line(loop: ManualLoop, lines: Lines) -> None:
    hub = Hub("of-the-log", broker="memory")

    async def authenticate(request: Request, token: str | None) -> fastws.User:
        return fastws.User("bob")

    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, authenticate=authenticate)
    client = opened(loop, Route("/", feed), access_log=True)
    client.text('{"auth":"token"}')
    loop.settle()
    client.close()
    loop.settle()
    assert closed(lines)["user"] == "bob"


def test_the_request_of_an_asgi_application(loop: ManualLoop) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        found = fastws.current_request()
        seen.append(None if found is None else found.request_id)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    site = Site(loop, fastws.ASGI(application, lifespan="off"))
    assert site.ask("/", "X-Request-ID: abc").status == 204
    assert seen == ["abc"]
    assert fastws.current_request() is None


def test_a_subscription_that_goes_on_counts(loop: ManualLoop, lines: Lines) -> None:
    hub = Hub("of-the-log", broker="memory")
    hub.topic("history", history=10)
    hub.topic("keyed", mode="keyed", every=0)
    hub.topic("paced", history=10, max_rate=100)
    handler = Recorder()
    client = opened(loop, handler, access_log=True)

    async def subscribe() -> None:
        async with hub:
            hub.publish("keyed", json=1, key="a")
            await asyncio.sleep(0)
            for topic in ("history", "keyed", "paced"):
                position = await hub.position(topic)
                assert position is not None
                synced = hub.subscribe(handler.ws, topic, since=position)
                assert synced is not None and synced.resumed

    loop.run(subscribe())
    client.close()
    loop.settle()
    assert closed(lines)["resumed"] == 3
    assert ", resumed 3, id " in lines.text[-1]
