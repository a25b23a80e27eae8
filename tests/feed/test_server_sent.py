"""A feed as server-sent events: the same objects, ids to come back with, refusals by their status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

import fastws
from fastws.testing import ManualLoop, RawClient
from tests.kit import until
from tests.kit.served import served


def feed_of(hub: fastws.Hub, **options: Any) -> fastws.Feed:
    return fastws.Feed(hub, **{"may_subscribe": fastws.anyone, "may_publish": fastws.anyone, **options})


@pytest.fixture
def hub() -> fastws.Hub:
    made = fastws.Hub()
    made.topic("kept/*", history=5)
    made.topic("quotes", mode="keyed")
    return made


class Source:
    """A client that reads events, as ``EventSource`` does."""

    def __init__(self, loop: ManualLoop, feed: Any, query: str = "", *headers: str, **options: Any) -> None:
        self.loop = loop
        is_feed = isinstance(feed, fastws.Feed)
        server = served(loop, fastws.Route("/feed", feed, http=feed.sse), **options) if is_feed else feed
        self.server = server
        self.raw = RawClient(server, loop)
        self.raw.get(f"/feed{query}", *headers)
        self.last_id = ""
        self.retry = 0
        self.head = b""
        self.chunks = b""
        self.is_over = False
        self.rest = b""

    def read(self) -> list[Any]:
        """Take the objects that have come."""
        self.loop.settle()
        data = self.raw.transport.take_sent()
        if not self.head:
            self.head, _, data = data.partition(b"\r\n\r\n")
        self.chunks += data
        while b"\r\n" in self.chunks:
            size, _, rest = self.chunks.partition(b"\r\n")
            self.is_over = size == b"0"
            if len(rest) < int(size, 16) + 2:
                break
            self.rest += rest[: int(size, 16)]
            self.chunks = rest[int(size, 16) + 2 :]
        *events, self.rest = self.rest.split(b"\n\n")
        found = []
        for event in events:
            lines = []
            for line in event.decode().split("\n"):
                name, _, value = line.partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "retry":
                    self.retry = int(value)
                elif name == "data":
                    lines.append(value)
            if lines:
                found.append(orjson.loads("\n".join(lines)))
        return found

    def status(self) -> int:
        self.loop.settle()
        return self.raw.response().status


def test_the_objects_of_a_feed(loop: ManualLoop, hub: fastws.Hub) -> None:
    source = Source(loop, feed_of(hub, ping=4), "?topic=kept/a&topic=plain&recent=2")
    hello, sync, *_ = source.read()
    assert b"\r\nContent-Type: text/event-stream\r\n" in source.head
    assert b"\r\nCache-Control: no-store\r\n" in source.head
    assert hello["hello"]["v"] == 1 and sync["t"] == "kept/a"
    assert 1000 <= source.retry <= 4000
    start = sync["sync"]["at"]
    assert source.last_id == f"{start} -"
    hub.publish("kept/a", json={"n": 1})
    hub.publish("plain", "x")
    one, two = source.read()
    assert (one["d"], two["d"]) == ({"n": 1}, "x")
    assert source.last_id == f"{one['at']} -"
    loop.advance(6)
    assert source.read() == [{}]


def test_it_comes_back(loop: ManualLoop, hub: fastws.Hub) -> None:
    first = Source(loop, feed_of(hub), "?topic=kept/a&topic=kept/b")
    first.read()
    hub.publish("kept/b", "1")
    first.read()
    seen = first.last_id
    first.raw.transport.lose()
    loop.settle()
    assert hub.count("kept/b") == 0
    hub.publish("kept/a", "2")
    hub.publish("kept/b", "3")
    again = Source(loop, first.server, "?topic=kept/a&topic=kept/b", f"Last-Event-ID: {seen}")
    said = again.read()
    assert [each["sync"]["resumed"] for each in said if "sync" in each] == [True, True]
    assert [each["d"] for each in said if "d" in each] == ["2", "3"]


def test_lines_within_what_is_published(loop: ManualLoop, hub: fastws.Hub) -> None:
    source = Source(loop, feed_of(hub), "?topic=plain")
    source.read()
    loop.run(hub._publish_noted("plain", '{"a":\n1,\r\n"b":\r"\u2028"}', None, b"\x83\0", None))
    assert source.read() == [{"t": "plain", "d": {"a": 1, "b": "\u2028"}}]


def test_half_a_snapshot_is_no_position(loop: ManualLoop, hub: fastws.Hub) -> None:
    for key in range(2000):
        hub_publish_key(loop, hub, key)
    source = Source(loop, feed_of(hub), "?topic=quotes")
    source.raw.stall(70_000)
    source.loop.settle()
    said = source.read()
    assert said[1]["sync"]["snapshot"] is True
    assert source.last_id == "-"
    source.raw.read()
    said += source.read()
    assert "live" in said[-1]
    assert source.last_id == said[-1]["live"]
    assert sum(len(each.get("snap", ())) for each in said) == 2000


def hub_publish_key(loop: ManualLoop, hub: fastws.Hub, key: int) -> None:
    async def publish() -> None:
        hub.publish("quotes", json="x" * 100, key=str(key))

    loop.run(publish())


def test_refusals(loop: ManualLoop, hub: fastws.Hub) -> None:
    def by_token(request: Any, token: str | None) -> fastws.User | None:
        if token == "slow":
            raise fastws.FeedError("too_fast", "later", 1.4)
        if token == "down":
            raise ZeroDivisionError
        if token == "old":
            return fastws.User(token, expires_at=time.time() - 1)
        return None if token is None else fastws.User(token, topics=("kept/mine",))

    feed = feed_of(hub, authenticate=by_token, may_subscribe=lambda client, topic: topic.startswith("kept/a"))
    token = "Authorization: Bearer ann"
    assert Source(loop, feed, "?topic=kept/a", token).read()[0]["hello"]["user"] == "ann"
    assert Source(loop, feed, "?topic=kept/mine", token).read()[1]["t"] == "kept/mine"
    rows = [
        (401, "?topic=kept/a", ()),
        (401, "?topic=kept/a", ("Authorization: Bearer old",)),
        (400, "?topic=kept/a", (token, token)),
        (400, "?topic=%FF", (token,)),
        (429, "?topic=kept/a", ("Authorization: Bearer slow",)),
        (503, "?topic=kept/a", ("Authorization: Bearer down",)),
        (403, "?topic=kept/b", (token,)),
        (403, "?topic=kept/a&topic=nothing", (token,)),
        (400, "", (token,)),
        (400, "?topic=kept/a&topic=kept/a", (token,)),
        (400, "?topic=a//b", (token,)),
        (400, "?topic=kept/a&since=garbage", (token,)),
        (400, "?topic=kept/a&recent=x", (token,)),
        (400, "?topic=kept/a", (token, "Last-Event-ID: a:1 b:2")),
        (400, "?topic=kept/a", (token, "Last-Event-ID: garbage")),
        (400, "?" + "&".join(f"topic=kept/a{n}" for n in range(33)), (token,)),
    ]
    for status, query, headers in rows:
        assert Source(loop, feed, query, *headers).status() == status, query
    assert hub.count("kept/a") == 1


def test_origins(loop: ManualLoop, hub: fastws.Hub) -> None:
    feed = feed_of(hub)
    assert Source(loop, feed, "?topic=plain", "Origin: https://evil.example").status() == 403
    assert Source(loop, feed, "?topic=plain", "Origin: http://server.example").read()
    there = Source(
        loop, feed, "?topic=plain", "Origin: https://good.example", origins=["https://good.example"]
    )
    assert there.read()
    assert b"\r\nAccess-Control-Allow-Origin: https://good.example\r\n" in there.head


def test_a_page_of_another_origin_sees_why_it_is_refused(loop: ManualLoop, hub: fastws.Hub) -> None:
    origins = ["https://good.example"]
    refused = Source(
        loop, feed_of(hub, may_subscribe=lambda *_: False), "?topic=a", "Origin: https://good.example",
        origins=origins,
    )  # fmt: skip
    loop.settle()
    response = refused.raw.response()
    assert response.status == 403
    assert response.headers["access-control-allow-origin"] == "https://good.example"
    other = Source(loop, feed_of(hub), "?topic=a", "Origin: https://evil.example", origins=origins)
    loop.settle()
    response = other.raw.response()
    assert response.status == 403
    assert "access-control-allow-origin" not in response.headers


def test_who_is_here(loop: ManualLoop, hub: fastws.Hub) -> None:
    hub.topic("rooms/*", presence="list")
    ann = Source(loop, feed_of(hub), "?topic=rooms/1")
    loop.advance(0.6)
    *_, live, here = ann.read()
    assert "live" in live
    (member,) = here["presence"]["list"]
    assert (here["presence"]["count"], member["n"], member["info"]) == (1, 1, None)
    bob = Source(loop, ann.server, "?topic=rooms/1")
    loop.advance(0.6)
    (told,) = ann.read()
    assert (told["presence"]["count"], len(told["presence"]["join"])) == (2, 1)
    assert bob.read()[-1]["presence"]["list"] == [member, *told["presence"]["join"]]
    for source in (ann, bob):
        source.raw.close()


def test_what_expires(loop: ManualLoop, hub: fastws.Hub) -> None:
    def lasting(request: object, token: str | None) -> fastws.User:
        return fastws.User("ann", expires_at=time.time() + 20)

    source = Source(loop, feed_of(hub, authenticate=lasting), "?topic=kept/a")
    assert source.read()[0]["hello"]["expires"] == 20
    loop.advance(21)
    source.read()
    assert source.is_over
    assert hub.count("kept/a") == 0


def test_a_client_that_does_not_read(loop: ManualLoop, hub: fastws.Hub) -> None:
    hub.topic("log", history=10, history_bytes=2**30)
    source = Source(loop, feed_of(hub), "?topic=log")
    source.read()
    source.raw.stall(1000)
    for number in range(200):
        hub.publish("log", json=[number, "x" * 10_000])
        loop.settle()
    source.raw.read()
    said = source.read()
    got = [each["d"][0] for each in said if "d" in each]
    missed = sum(each["gap"]["missed"] for each in said if "gap" in each)
    assert missed > 0 and len(got) + missed == 200
    assert got == sorted(got) and got[-1] == 199


@asynccontextmanager
async def in_uvicorn(feed: fastws.Feed) -> AsyncIterator[str]:
    async def endpoint(request: Request) -> Any:
        return await feed.sse(request)

    app = Starlette(routes=[Route("/feed", endpoint)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/feed"
    finally:
        server.should_exit = True
        await task


@pytest.mark.live
async def test_in_starlette(hub: fastws.Hub) -> None:
    feed = feed_of(hub)
    async with in_uvicorn(feed) as url, httpx.AsyncClient() as client:
        async with client.stream("GET", f"{url}?topic=kept/a") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.aiter_lines()
            while '"live"' not in await anext(lines):
                pass
            hub.publish("kept/a", "x")
            while '"d":"x"' not in await anext(lines):
                pass
            await response.aclose()
        await until(lambda: hub.count("kept/a") == 0)
        assert (await client.get(f"{url}?topic=a//b")).status_code == 400
