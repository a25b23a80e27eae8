"""Keyed topics inside of the process: following, confirming, threads, snapshots."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc

import pytest

from fastws.pubsub.events import Ended, Live, Message, Published, Removed, Synced
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.topic("t", mode="keyed", max_keys=5, ttl=10)
    return made


async def take(follower: Follower, count: int) -> list[object]:
    return [await anext(follower) for _ in range(count)]


class TestFollowing:
    def test_a_snapshot_then_what_changes(self, loop: ManualLoop, hub: Hub) -> None:
        async def scenario() -> None:
            for key in "abc":
                hub.publish("t", json=key, key=key)
            hub.remove("t", "b")
            at = await hub.position("t")
            async with hub, hub.follow("t") as events:
                assert await take(events, 4) == [
                    Synced("t", at, snapshot=True),
                    Message("t", '"a"', at.after(-3), "a"),
                    Message("t", '"c"', at.after(-1), "c"),
                    Live("t", at),
                ]
                waiting = asyncio.ensure_future(take(events, 1))
                await asyncio.sleep(0)
                hub.publish("t", "1", key="a")
                assert await waiting == [Message("t", "1", at.after(1), "a")]
                # Only the last value of each key comes.
                hub.publish("t", "2", key="a")
                hub.publish("t", "3", key="a")
                hub.remove("t", "c")
                hub.clear("t")
                hub.publish("t", "4", key="x")
                assert await take(events, 2) == [
                    Removed("t", None, at.after(5)),
                    Message("t", "4", at.after(6), "x"),
                ]
                assert events.positions == {"t": at.after(6)}
                hub.remove("t", "x")
                await hub.close()
                assert await take(events, 2) == [Removed("t", "x", at.after(7)), Ended("t", "closed")]

        loop.run(scenario())

    def test_live_again(self, loop: ManualLoop, hub: Hub) -> None:
        async def scenario() -> None:
            async with hub, hub.follow("t") as events:
                assert isinstance((await take(events, 2))[1], Live)
                hub.publish("t", "1", key="a")
                _, live = await take(events, 2)
                assert live == Live("t", await hub.position("t"))

        loop.run(scenario())

    def test_from_a_position_on_or_from_the_beginning(self, loop: ManualLoop, hub: Hub) -> None:
        async def scenario() -> None:
            hub.publish("t", "1", key="a")
            hub.publish("t", "1", key="b")
            at = await hub.position("t")
            hub.remove("t", "a")
            async with hub.follow("t", since=at) as events:
                assert await take(events, 2) == [
                    Synced("t", at, resumed=True),
                    Removed("t", "a", at.after(1)),
                ]
                positions = events.positions
            for _ in range(6):  # more tombstones than it keeps
                hub.publish("t", "2", key="c")
                hub.publish("t", "2", key=f"c{_}")
                hub.remove("t", f"c{_}")
            now = await hub.position("t")
            async with hub.follow("t", since=positions) as events:
                first, *values = await take(events, 3)
                assert first == Synced("t", now, resumed=False, missed=None, reason="limit", snapshot=True)
                assert [(each.key, each.message) for each in values if isinstance(each, Message)] == [
                    ("b", "1"),
                    ("c", "2"),
                ]

        loop.run(scenario())

    def test_who_is_overtaken_begins_again(self, loop: ManualLoop, hub: Hub) -> None:
        async def scenario() -> None:
            hub.publish("t", "1", key="a")
            async with hub.follow("t") as events:
                await take(events, 3)
                hub.remove("t", "a")
                hub.publish("t", "1", key="b")
                await asyncio.sleep(11)
                again, value, live = await take(events, 3)
                assert isinstance(again, Synced)
                assert (again.snapshot, again.reason) == (True, "expired")
                assert isinstance(value, Message)
                assert value.key == "b"
                assert isinstance(live, Live)

        loop.run(scenario())


def test_confirming(loop: ManualLoop, hub: Hub) -> None:
    async def scenario() -> None:
        first = await hub.publish_confirmed("t", "1", key="a", once="x")
        assert first == Published(await hub.position("t"))
        again = await hub.publish_confirmed("t", json=2, key="a", once="x")
        assert again == Published(first.at, duplicate=True)
        second = await hub.publish_confirmed("t", json={"n": 2}, key="b")
        assert second.at == first.at.after(1)
        assert await hub.snapshot("t") == {"a": "1", "b": '{"n":2}'}
        with pytest.raises(TypeError, match="is keyed"):
            await hub.publish_confirmed("t", "1")

    loop.run(scenario())


def test_from_a_thread() -> None:
    async def scenario() -> None:
        hub = Hub()
        hub.topic("t", mode="keyed")
        with pytest.raises(RuntimeError, match="does not know its loop yet"):
            hub.publish_threadsafe("t", "1", key="a")
        async with hub, hub.follow("t") as events:
            await take(events, 2)

            def publish() -> None:
                hub.publish_threadsafe("t", "1", key="a")
                hub.publish_threadsafe("t", json=[2], key="b")
                with pytest.raises(RuntimeError, match="belongs to the thread of its loop"):
                    hub.publish("t", "1", key="a")
                with pytest.raises(RuntimeError, match="belongs to the thread of its loop"):
                    hub.remove("t", "a")

            thread = threading.Thread(target=publish)
            thread.start()
            values = await take(events, 2)
            thread.join()
            assert [each.message for each in values if isinstance(each, Message)] == ["1", "[2]"]

    asyncio.run(scenario())


def test_json_to_any_topic(loop: ManualLoop) -> None:
    async def scenario() -> None:
        hub = Hub()
        hub.topic("kept", history=5)
        assert hub.publish("plain", json={"a": 1}) == 0
        hub.publish("kept", json=["é", None])
        await hub.publish_confirmed("kept", json=None)
        assert [each.message for each in await hub.history("kept")] == ['["é",null]', "null"]

    loop.run(scenario())


def test_hubs_that_share_refuse_it(tmp_path: object) -> None:
    hub = Hub("keyed", broker=f"bus:{tmp_path}/bus")
    with pytest.raises(ValueError, match=r"mode='keyed' of 't': nobody numbers messages of hubs"):
        hub.topic("t", mode="keyed")
    asyncio.run(hub.close())


@pytest.mark.measures
def test_the_memory_of_a_key(loop: ManualLoop, hub: Hub) -> None:
    hub.topic("many", mode="keyed")
    hub.publish("many", json=1, key="first")
    tracemalloc.start()
    for number in range(1000):
        hub.publish("many", json={"price": "12.34"}, key=f"SYMBOL{number}")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 1000 < 600


class TestWhatNobodyCanBeTold:
    def test_a_key_too_many_of_a_thread_is_a_line_of_the_log(
        self, loop: ManualLoop, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> dict[str, str]:
            async with hub:
                for key in "abcdef":
                    hub.publish_threadsafe("t", json=1, key=key)
                await asyncio.sleep(0)
                return await hub.snapshot("t")

        assert [*loop.run(scenario())] == [*"abcde"]
        (record,) = caplog.records
        assert record.getMessage() == (
            "publish_threadsafe: topic 't' holds 5 keys, its max_keys, and not 'f'"
        )
        assert record.exc_info is None

    def test_a_bad_name_raises_in_the_thread(self, loop: ManualLoop, hub: Hub) -> None:
        async def scenario() -> None:
            hub.topic("k/*", mode="keyed")
            hub.topic("s/*", history=3)
            async with hub:
                with pytest.raises(ValueError, match="'s/..' cannot be the name of a topic"):
                    hub.publish_threadsafe("s/..", "x")
                with pytest.raises(ValueError, match="cannot be the name of a topic"):
                    hub.publish_threadsafe("k/..", json=1, key="a")
                hub.publish_threadsafe("plain/..", "x")

        loop.run(scenario())
