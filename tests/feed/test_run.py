"""The same feed inside other frameworks, and in a coroutine handler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn
import websockets.asyncio.server
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import fastws
from tests.kit import until

pytestmark = pytest.mark.live

Site = Callable[[fastws.Feed], AbstractAsyncContextManager[str]]


def starlette(feed: fastws.Feed) -> Starlette:
    async def endpoint(websocket: WebSocket) -> None:
        await feed.run(websocket)

    return Starlette(routes=[WebSocketRoute("/feed", endpoint)])


@asynccontextmanager
async def in_uvicorn(feed: fastws.Feed) -> AsyncIterator[str]:
    config = uvicorn.Config(starlette(feed), port=0, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    try:
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/feed"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def in_fastws(feed: fastws.Feed) -> AsyncIterator[str]:
    async with fastws.serve(fastws.ASGI(starlette(feed)), "127.0.0.1", access_log=False) as server:
        yield f"ws://127.0.0.1:{server.port}/feed"


@asynccontextmanager
async def in_a_coroutine(feed: fastws.Feed) -> AsyncIterator[str]:
    async def handler(ws: fastws.WebSocket) -> None:
        await feed.run(ws)

    route = fastws.Route("/feed", handler)
    async with fastws.serve(route, "127.0.0.1", access_log=False) as server:
        yield f"ws://127.0.0.1:{server.port}/feed"


@asynccontextmanager
async def in_aiohttp(feed: fastws.Feed) -> AsyncIterator[str]:
    async def endpoint(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await feed.run(ws, request=request)
        return ws

    app = web.Application()
    app.add_routes([web.get("/feed", endpoint)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/feed"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def in_websockets(feed: fastws.Feed) -> AsyncIterator[str]:
    async with websockets.asyncio.server.serve(feed.run, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/feed"


SITES = [in_uvicorn, in_fastws, in_a_coroutine, in_aiohttp, in_websockets]


def by_token(request: object, token: str | None) -> fastws.User | None:
    return None if token != "a" else fastws.User("ann")


async def next_of(ws: fastws.WebSocket) -> Any:
    return json.loads(await ws.recv())


@pytest.mark.parametrize("site", SITES)
async def test_a_client(site: Site) -> None:
    hub = fastws.Hub()
    hub.topic("t", history=100)
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
    async with site(feed) as url:
        async with fastws.connect(f"{url}?topic=t") as ws:
            hello, sync, live = [await next_of(ws) for _ in range(3)]
            assert hello["hello"]["v"] == 1
            assert live == {"t": "t", "live": sync["sync"]["at"]}
            for number in range(20):
                await ws.send(f'{{"pub":"t","d":{number},"id":{number}}}')
            said = [await next_of(ws) for _ in range(40)]
            assert [each["d"] for each in said if "d" in each] == list(range(20))
            assert [each["id"] for each in said if "id" in each] == list(range(20))
            await ws.send(b"binary")
            assert (await next_of(ws))["error"]["code"] == "bad_request"
        await until(lambda: hub.count("t") == 0)
        async with fastws.connect(f"{url}?topic=t&since={sync['sync']['at']}") as ws:
            said = [await next_of(ws) for _ in range(23)]
            assert said[1]["sync"]["resumed"] is True
            assert [each["d"] for each in said[2:22]] == list(range(20))
            assert "live" in said[22]
        await until(lambda: hub.count("t") == 0)


@pytest.mark.parametrize("site", SITES)
async def test_a_client_that_is_refused(site: Site) -> None:
    feed = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone, authenticate=by_token)
    async with site(feed) as url, fastws.connect(f"{url}?topic=t") as ws:
        await ws.send('{"sub":"x"}')
        assert (await next_of(ws))["error"]["code"] == "unauthorized"
        await ws.send('{"auth":"a"}')
        assert (await next_of(ws))["hello"]["user"] == "ann"
        assert "sync" in await next_of(ws) and "live" in await next_of(ws)
        await ws.send('{"auth":"b"}')
        with pytest.raises(fastws.ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 4401


@pytest.mark.parametrize("site", SITES)
async def test_a_client_that_does_not_read(site: Site) -> None:
    hub = fastws.Hub()
    hub.topic("t", history=10_000, history_bytes=2**30)
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
    async with site(feed) as url, fastws.connect(f"{url}?topic=t", compression=None) as ws:
        said = [await next_of(ws) for _ in range(3)]
        ws.pause_reading()
        for number in range(400):
            hub.publish("t", json=[number, "x" * 30_000])
            await asyncio.sleep(0)
        for number in range(5):
            await ws.send(f'{{"pub":"t","d":[{400 + number}],"id":{number}}}')
        await asyncio.sleep(0.05)
        ws.resume_reading()
        while len(said) < 3 + 405 + 5:
            said.append(await next_of(ws))
        assert [each["d"][0] for each in said if "d" in each] == list(range(405))
        assert [each["id"] for each in said if "ack" in each] == list(range(5))


class Framework:
    """A WebSocket of another framework; ``send`` waits until the test lets it go on."""

    def __init__(self, query: str) -> None:
        self.scope = {"query_string": query.encode()}
        self.said: list[Any] = []
        self.commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()

    def says(self, text: str) -> None:
        self.commands.put_nowait({"type": "websocket.receive", "text": text})

    async def receive(self) -> dict[str, Any]:
        return await self.commands.get()

    async def send_text(self, text: str) -> None:
        await self.takes.wait()
        self.said.append(json.loads(text))

    async def send_bytes(self, data: bytes) -> None:
        raise AssertionError("a feed says text")

    async def close(self, code: int, reason: str) -> None:
        await self.takes.wait()
        self.said.append(code)
        self.commands.put_nowait({"type": "websocket.disconnect"})


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_commands_that_waited_for_a_hook_and_then_for_the_socket() -> None:
    allowed = asyncio.Event()

    async def may_subscribe(client: fastws.FeedClient, topic: str) -> bool:
        if topic == "slow":
            await allowed.wait()
        return True

    hub = fastws.Hub()
    feed = fastws.Feed(hub, may_subscribe=may_subscribe)
    websocket = Framework("topic=t")
    task = asyncio.create_task(feed.run(websocket))
    await turns()
    websocket.says('{"sub":"slow"}')
    websocket.says('{"sub":"quick"}')
    await turns()
    websocket.takes.clear()
    hub.publish("t", "x")
    await turns()
    allowed.set()
    await turns()
    assert hub.count("quick") == 0
    websocket.takes.set()  # and the client says nothing more
    await turns()
    assert websocket.said[-1] == {"t": "quick", "live": None}
    websocket.commands.put_nowait({"type": "websocket.disconnect"})
    await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_is_sent_away_gets_nothing_more() -> None:
    hub = fastws.Hub()
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
    websocket = Framework("topic=t")
    task = asyncio.create_task(feed.run(websocket, user=fastws.User("ann")))
    await turns()
    websocket.takes.clear()
    hub.publish("t", "before")
    await turns()
    await hub.kick("ann")
    hub.publish("t", "after")
    await turns()
    assert hub.count("t") == 0
    websocket.takes.set()
    await task
    assert [each["d"] for each in websocket.said[3:-1]] == ["before"]
    assert websocket.said[-1] == 4403


async def test_a_user_that_the_application_knows() -> None:
    seen: list[Any] = []

    async def handler(ws: fastws.WebSocket) -> None:
        await feed.run(ws, user=fastws.User("ann"))

    def may_subscribe(client: fastws.FeedClient, topic: str) -> bool:
        assert client.user is not None
        seen.append((client.user.id, client.request.path, client.topics))
        return True

    feed = fastws.Feed(fastws.Hub(), may_subscribe=may_subscribe, authenticate=by_token)
    async with (
        fastws.serve(fastws.Route("/feed", handler), "127.0.0.1", access_log=False) as server,
        fastws.connect(f"ws://127.0.0.1:{server.port}/feed?topic=a&topic=b") as ws,
    ):
        assert (await next_of(ws))["hello"]["user"] == "ann"
        for _ in range(4):
            await next_of(ws)
    assert seen == [("ann", "/feed", ()), ("ann", "/feed", ("a",))]


async def test_what_cannot_be_run() -> None:
    feed = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone)
    run: Any = feed.run
    with pytest.raises(TypeError, match=r"fastws\.User"):
        await run(object(), user="ann")
    with pytest.raises(TypeError, match="a subscriber is a WebSocket"):
        await run(object())
