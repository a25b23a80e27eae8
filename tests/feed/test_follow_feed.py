"""``fastws.follow`` and a real :class:`fastws.Feed`: each message comes once, also while lines are cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fastws
from fastws import Live, Message, Position, Synced
from tests.feed.cutter import Cutter

QUICK = fastws.Backoff(0.001, limit=0.01)


@asynccontextmanager
async def serving(hub: fastws.Hub, **options: Any) -> AsyncIterator[str]:
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone, **options)
    async with fastws.serve(fastws.Route("/feed", feed), "127.0.0.1") as server:
        yield f"ws://127.0.0.1:{server.port}/feed"


@pytest.fixture
async def hub() -> AsyncIterator[fastws.Hub]:
    hub = fastws.Hub()
    hub.topic("kept/*", history=10_000)
    async with hub:
        yield hub


async def test_what_is_published_comes_with_its_author_and_position(hub: fastws.Hub) -> None:
    def user(request: object, token: str | None) -> fastws.User | None:
        return fastws.User("1", public_id="ann") if token == "s3cret" else None

    async with (
        serving(hub, authenticate=user) as url,
        fastws.follow(url, "kept/a", "plain", token="s3cret") as feed,
    ):
        begin = [await anext(feed) for _ in range(4)]
        assert [type(event) for event in begin] == [Synced, Live, Synced, Live]
        published = await feed.publish("kept/a", {"text": "hi"}, once="1")
        assert await feed.publish("kept/a", {"text": "hi"}, once="1") == fastws.Published(
            published.at, duplicate=True
        )
        hub.publish("kept/a", b"\0\xff")
        assert await anext(feed) == Message("kept/a", {"text": "hi"}, published.at, user="ann")
        assert await anext(feed) == Message("kept/a", b"\0\xff", published.at.after(1))
        assert (await feed.publish("plain", [2**64 - 1, "x"])).at is None
        assert await anext(feed) == Message("plain", [2**64 - 1, "x"], None, user="ann")
        assert feed.positions == {"kept/a": published.at.after(1)}


async def test_a_feed_that_wants_a_token(hub: fastws.Hub) -> None:
    async with (
        serving(hub, authenticate=lambda request, token: None) as url,
        fastws.follow(url, "kept/a") as feed,
    ):
        with pytest.raises(fastws.FeedError, match="unauthorized: the token comes first"):
            await anext(feed)


async def test_refusals(hub: fastws.Hub) -> None:
    def only(client: object, topic: str) -> bool:
        return topic == "kept/a"

    feed = fastws.Feed(hub, may_subscribe=only)
    async with fastws.serve(fastws.Route("/feed", feed), "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/feed"
        async with fastws.follow(url, "kept/b") as events:
            with pytest.raises(fastws.FeedError, match="kept/b"):
                await anext(events)
        async with fastws.follow(url, "kept/a") as events:
            with pytest.raises(fastws.FeedError) as refused:
                await events.publish("kept/a", 1)
            assert refused.value.code == "forbidden"


async def test_more_topics_than_commands_in_a_second(hub: fastws.Hub) -> None:
    topics = [f"kept/{number}" for number in range(60)]
    async with serving(hub) as url, fastws.follow(url, *topics) as feed:
        synced = [event.topic async for event in first_of(feed, Synced, 60)]
    assert sorted(synced) == sorted(topics)


async def test_a_user_who_has_topics_goes_on_in_them(hub: fastws.Hub) -> None:
    """The server subscribes such a client by itself, and not where it was."""

    def user(request: object, token: str | None) -> fastws.User | None:
        return fastws.User("ann", topics=("kept/a",)) if token else None

    async with serving(hub, authenticate=user) as url:
        start = await hub.position("kept/a")
        for number in range(3):
            hub.publish("kept/a", str(number))
        async with fastws.follow(url, "kept/a", token="t", since=start) as feed:
            assert await anext(feed) == Synced("kept/a", start, resumed=True)
            got = [event.message async for event in first_of(feed, Message, 3)]
            assert got == ["0", "1", "2"]


async def first_of(feed: fastws.FeedFollower, kind: type[Any], count: int) -> AsyncIterator[Any]:
    while count:
        event = await anext(feed)
        if isinstance(event, kind):
            count -= 1
            yield event


async def test_each_message_once_while_lines_are_cut(hub: fastws.Hub) -> None:
    chance = random.Random(7)
    total = 1500
    async with serving(hub) as url, Cutter(url) as cutter:
        topics = ["kept/a", "kept/b"]
        async with fastws.follow(cutter.url, *topics, backoff=QUICK) as feed:
            for _ in topics:
                assert isinstance(await anext(feed), Synced)
                assert isinstance(await anext(feed), Live)

            async def publish() -> None:
                for number in range(total):
                    hub.publish(topics[number % 2], str(number))
                    if number % 50 == 49:
                        cutter.cut()
                    for _ in range(chance.randrange(3)):
                        await asyncio.sleep(0.0005)

            publishing = asyncio.create_task(publish())
            got: dict[str, list[int]] = {topic: [] for topic in topics}
            while sum(map(len, got.values())) < total:
                event = await anext(feed)
                if isinstance(event, Synced):
                    assert event.resumed, event
                elif isinstance(event, Message):
                    got[event.topic].append(int(event.message))
                    assert isinstance(event.at, Position)
                    assert event.at.offset == len(got[event.topic])
            await publishing
        assert got == {topic: list(range(start, total, 2)) for start, topic in enumerate(topics)}
        assert cutter.connections > 5


async def test_what_is_published_with_once_is_published_once_while_lines_are_cut(hub: fastws.Hub) -> None:
    async with serving(hub) as url, Cutter(url) as cutter, fastws.follow(cutter.url, backoff=QUICK) as feed:

        async def publish(number: int) -> None:
            await feed.publish("kept/a", number, once=f"id {number}", timeout=30)

        publishing = asyncio.gather(*map(publish, range(40)))
        pause = 0.002
        while not publishing.done():
            cutter.cut()
            await asyncio.sleep(pause)
            pause *= 1.1  # in the end each line lives long enough, also on a busy machine
        await publishing
        kept = await hub.history("kept/a", limit=1000)
        assert sorted(int(message.message) for message in kept) == list(range(40))


async def test_keyed_values_are_those_of_the_hub_while_lines_are_cut() -> None:
    chance = random.Random(11)
    hub = fastws.Hub()
    hub.topic("quotes", mode="keyed", every=0.001)
    async with hub, serving(hub) as url, Cutter(url) as cutter:
        for key in range(20):
            hub.publish("quotes", json=-1, key=str(key))
        async with fastws.follow(cutter.url, "quotes", backoff=QUICK) as feed:
            held: dict[str, int] = {}

            async def hold() -> None:
                async for event in feed:
                    match event:
                        case Synced(snapshot=True):
                            held.clear()
                        case Message(key=str(key), message=number):
                            assert number >= held.get(key, -1), "an older value came after a newer one"
                            held[key] = number
                        case fastws.Removed(key=key):
                            held.pop(key, None) if key is not None else held.clear()

            holding = asyncio.create_task(hold())
            for number in range(1500):
                key = str(chance.randrange(60))
                if chance.random() < 0.1:
                    hub.remove("quotes", key)
                else:
                    hub.publish("quotes", json=number, key=key)
                if number % 100 == 99:
                    cutter.cut()
                await asyncio.sleep(0.0005)
            hub.publish("quotes", json=1500, key="last")
            while held.get("last") != 1500:
                assert not holding.done(), holding.result()
                await asyncio.sleep(0.001)
            assert held == {key: int(text) for key, text in (await hub.snapshot("quotes")).items()}
            holding.cancel()
            assert feed.positions.keys() <= {"quotes"}
        assert cutter.connections > 5
