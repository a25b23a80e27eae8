"""What a type checker says about a program that uses fastws; nothing here is run.

mypy and pyright check this file in their strict modes. A line with an ignore comment is one that they
must refuse: an ignore that is not needed is an error too.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any, assert_type

import fastws


async def handler(ws: fastws.WebSocket) -> None:
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)


class Room(fastws.Handler):
    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        ws.send_nowait(message)


class Greeting(fastws.Handler):
    async def on_open(self, ws: fastws.WebSocket) -> None:
        await ws.send("welcome")


class Plain(fastws.Handler):
    def on_open(self, ws: fastws.WebSocket) -> None:
        ws.send_nowait("welcome")


class AsyncMessage(fastws.Handler):
    async def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        await ws.send(message)


class Service:
    async def __call__(self, ws: fastws.WebSocket) -> int:
        return 1


def not_async(ws: fastws.WebSocket) -> None: ...


async def page(request: fastws.Request) -> fastws.Response:
    assert_type(request.path_params, dict[str, str])
    assert_type(request.query_params, dict[str, list[str]])
    assert_type(request.cookies, dict[str, str])
    assert_type(request.headers["host"], str)
    assert_type(request.headers.get_list("cookie"), list[str])
    return fastws.Response(200, "hello", {"X-Name": "value"})


async def numbers() -> AsyncIterator[bytes]:
    yield b"1"


limit = fastws.RateLimit("5/s", key=lambda subject: subject.peer)
fastws.RateLimit(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def streaming_page(request: fastws.Request) -> fastws.Response:
    assert_type(limit.allow(request), bool)
    assert_type(limit.retry_after(request), float)
    fastws.Response(stream=[b"1"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return limit(request) or fastws.Response(stream=numbers())


def states(ws: fastws.WebSocket, hub: fastws.Hub) -> None:
    assert_type(ws.flow, fastws.FlowState)
    assert_type(hub.compression("t"), fastws.CompressionUse | None)
    assert_type(hub.kept_bytes(), int)
    fastws.Route("/", handler, http=streaming_page, authorize=limit)
    fastws.serve(handler, memory_budget=2**30)


def one_route() -> fastws.serve:
    return fastws.serve([fastws.Route("/", handler), fastws.Static("/files/", Path("/srv"))])


async def make_routes() -> list[fastws.Route]:
    return [fastws.Route("/", handler)]


def make_application() -> fastws.Application:
    return fastws.Application(handler)


async def factories() -> None:
    await fastws.serve(make_routes, factory=True)
    await fastws.serve(make_application, "127.0.0.1", factory=True)
    await fastws.serve(lambda: 5, factory=True)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]


async def clients() -> None:
    async with fastws.connect("ws://server.test/") as ws:
        assert_type(ws, fastws.WebSocket)
    assert_type(await fastws.connect("ws://server.test/"), fastws.WebSocket)
    async for each in fastws.connect(
        "ws://server.test/", retry=fastws.is_retryable, backoff=fastws.Backoff()
    ):
        assert_type(each, fastws.WebSocket)
    fastws.connect("ws://server.test/", handler=Room())
    fastws.connect("ws://server.test/", handler=Room)
    fastws.connect("ws://server.test/", handler=Greeting())
    fastws.connect("ws://server.test/", handler=handler)
    fastws.connect("ws://server.test/", handler=not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fastws.connect("wss://server.test/", ssl=ssl.create_default_context(), proxy="socks5://proxy.test")
    fastws.connect("ws://server.test/", auth=fastws.BasicAuth("user", "password"), cookies={"name": "value"})
    fastws.connect("ws://server.test/", headers=[("X-Name", "value")], limits={"receive_queue": 1})
    fastws.connect("ws://server.test/", prxy=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fastws.connect(b"ws://server.test/")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def sockets(ws: fastws.WebSocket, parts: Iterable[str], pieces: AsyncIterator[bytes]) -> None:
    assert_type(await ws.recv(), str | bytes)
    assert_type(await ws.recv_json(), Any)
    assert_type(ws.recv_streaming(), AsyncIterator[str | bytes])
    async for part in ws.recv_streaming():
        assert_type(part, str | bytes)
    await ws.send("text")
    await ws.send(bytearray(b"binary"), compress=False)
    await ws.send(parts)
    await ws.send(pieces)
    await ws.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(ws.send_nowait(memoryview(b"binary")), fastws.SendStatus)
    await ws.send_json({"any": ["thing"]})
    assert_type(ws.send_json_nowait({"any": ["thing"]}), fastws.SendStatus)
    assert_type(await ws.ping(), float)
    assert_type(ws.latency, float | None)
    assert_type(ws.buffered_amount, int)
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.request, fastws.Request | None)
    assert_type(ws.response, fastws.Response | None)
    ws.state.update({"seat": 3})
    assert_type(ws.state["room"], Any)
    assert_type(ws.state.room, Any)
    assert_type(ws.closed, bool)
    assert_type(ws.close_code, int | None)
    assert_type(ws.close_reason, str | None)
    assert_type(ws.closed_error(), fastws.ConnectionClosed)
    await ws.close(1000, "done")
    await ws.wait_closed()


def authorize(request: fastws.Request) -> fastws.Response | None:
    return None


async def authorize_later(request: fastws.Request) -> fastws.Response | None:
    return fastws.Response(403)


async def servers() -> None:
    hub = fastws.Hub(policy="drop_oldest", compression=fastws.Compression(level=6))
    routes: list[fastws.Route | fastws.Static] = [
        fastws.Route("/", handler, http=page, authorize=authorize, subprotocols=["chat"]),
        fastws.Route("/room/{name}", Room(), authorize=authorize_later, limits={"max_message_size": 512}),
        fastws.Route("/type", Room, timeouts=fastws.Timeouts(ping_interval=None), compression=None),
        fastws.Route("/service", Service(), authorize=fastws.basic_auth("realm", {"user": "password"})),
        fastws.Route("/token", handler, authorize=fastws.token_auth({"name": "secret"})),
        fastws.Route("/large", fastws.streaming(handler, max_message_size=None)),
        fastws.Static("/files/", Path("/srv")),
    ]
    fastws.Route("/wrong", not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fastws.Route("/wrong", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with fastws.serve(routes, "127.0.0.1", 8080, origins=["*"], access_log=False) as server:
        assert_type(server, fastws.Server)
        assert_type(server.port, int)
        assert_type(server.counters.as_dict(), dict[str, int])
        assert_type(server.counters.messages_sent, int)
        assert_type(server.totals(), dict[str, int])
        await server.serve_forever()
    assert_type(await fastws.serve(handler, unix="/run/socket"), fastws.Server)
    fastws.serve(Room, reuse_port=True, limits=fastws.Limits(max_message_size=1), timeouts={"close": 1})
    assert_type(await fastws.serve_until_signal(routes, [{"port": 1}], fastws.Settings(), grace=None), int)
    fastws.run(routes, port=0, grace=None, announce=False, origins=["*"], timeouts={"close": 1})
    fastws.run(handler, orgins=["*"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fastws.serve(handler, orgins=["*"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fastws.serve(not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(hub.publish("news", "text", exclude=None), int)
    hub.publish("news", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.publish_threadsafe("news", b"binary")
    assert_type(hub.count("news"), int)
    hub.topic("chat", merge="\n", policy=fastws.SlowConsumerPolicy.EVICT)
    hub.topic("rooms/*", history=100, ttl=60, history_bytes=2**20, compression=None)
    assert_type(await hub.publish_confirmed("rooms/1", "text", once="id"), fastws.Published)
    position = await hub.position("rooms/1")
    assert_type(position, fastws.Position)
    assert_type(fastws.Position.parse("a:1").after(3).offset, int)
    assert_type(await hub.history("rooms/1", limit=10, before=position), list[fastws.Message])
    assert_type(hub.count("rooms/1"), int)
    hub.topic("quotes", mode="keyed", max_keys=100, key_ttl=60, every=0.1)
    hub.publish("quotes", "1", key="ACME")
    hub.publish_threadsafe("quotes", json={"price": 1}, key="ACME")
    assert_type(hub.remove("quotes", "ACME"), bool)
    assert_type(hub.clear("quotes"), bool)
    assert_type(await hub.snapshot("quotes"), dict[str, str])
    async with hub.follow("rooms/1", since={"rooms/1": position}) as events:
        async for event in events:
            match event:
                case fastws.Message():
                    assert_type(event.at, fastws.Position | None)
                    assert_type(event.key, str | None)
                case fastws.Removed():
                    assert_type(event.key, str | None)
                case _:
                    assert_type(
                        event, fastws.Synced | fastws.Live | fastws.Gap | fastws.Presence | fastws.Ended
                    )
        assert_type(events.positions, dict[str, fastws.Position])


async def token() -> str:
    return "t"


async def feeds() -> None:
    async with fastws.follow("ws://127.0.0.1/feed", "rooms/1", "rooms/2", token=token, since=None) as feed:
        assert_type(feed.positions, dict[str, fastws.Position])
        published = await feed.publish("rooms/1", {"text": "hi"}, once="id")
        assert_type(published, fastws.Published)
        async for event in feed:
            if isinstance(event, fastws.Message):
                assert_type(event.user, str | None)
                assert_type(event.at, fastws.Position | None)
            elif isinstance(event, fastws.Gap):
                assert_type(event.missed, int | None)
    fastws.follow("ws://127.0.0.1/feed", "a", token=lambda: "t", recent=5, rate=2.5, buffer=10)
    fastws.follow("ws://127.0.0.1/feed", "a", token=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def failures(exc: Exception) -> None:
    match exc:
        case fastws.ConnectionClosed():
            assert_type(exc.code, int)
            assert_type(exc.reason, str)
            assert_type(exc.by_peer, bool)
        case fastws.HandshakeRefused():
            assert_type(exc.response.status, int)
            assert_type(exc.response.body, bytes)
            assert_type(exc.response.headers["location"], str)
            assert_type(exc.response.headers.get("retry-after"), str | None)
        case fastws.ProxyError():
            assert_type(exc.response.status if exc.response else None, int | None)
            fastws.ProxyError("the proxy refused", fastws.Response(407))
        case _:
            assert_type(fastws.is_retryable(exc), bool)
    assert_type(fastws.CloseCode(1000), fastws.CloseCode)


def settings() -> None:
    limits = fastws.Limits()
    assert_type(limits.max_message_size, int)
    assert_type(fastws.Timeouts().ping_interval, float | None)
    limits.max_message_size = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    fastws.Limits(max_size=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(fastws.Backoff(first=0.1).delay(3), float)
    fastws.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


class Parts(fastws.Handler):
    """A handler for ``streaming`` is given fragments: its parameter admits both."""

    def on_message(self, ws: fastws.WebSocket, message: str | bytes | fastws.Fragment) -> None:
        if isinstance(message, fastws.Fragment):
            assert_type(message.data, str | bytes)
            assert_type(message.final, bool)


class Wrong(fastws.Handler):
    def on_message(self, ws: fastws.WebSocket, message: str) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        ...


def awaitable(value: Awaitable[fastws.WebSocket]) -> None: ...


awaitable(fastws.connect("ws://server.test/"))
