"""Following topics inside of the process: what comes, from where on, and what a slow one is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.errors import ConcurrencyError
from fastws.pubsub.events import Ended, Gap, Message, Position, Synced
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub import Hub
from fastws.pubsub.taker import EVENTS_AT_ONCE
from tests.conftest import Run
from tests.kit import ManualLoop


def made(**topics: int) -> Hub:
    hub = Hub()
    for name, history in topics.items():
        hub.topic(name, history=history, ttl=100)
    return hub


async def take(follower: Follower, count: int) -> list[Any]:
    return [await anext(follower) for _ in range(count)]


class TestEvents:
    def test_from_now_on(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            hub = made(t=5)
            hub.publish("t", "before")
            async with hub.follow("t") as events:
                at = await hub.position("t")
                waiting = asyncio.ensure_future(take(events, 3))
                await asyncio.sleep(0)
                hub.publish("t", "1")
                hub.publish("t", b"2")
                assert await waiting == [
                    Synced("t", at),
                    Message("t", "1", at.after(1)),
                    Message("t", b"2", at.after(2)),
                ]
                assert events.positions == {"t": at.after(2)}

        loop.run(scenario())

    def test_from_positions_on_and_topics_take_turns(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            hub = made(t=5, u=2)
            starts = {"t": await hub.position("t"), "u": str(await hub.position("u"))}
            for number in range(3):
                hub.publish("t", f"t{number}")
                hub.publish("u", f"u{number}")
            async with hub.follow("t", "u", since=starts) as events:
                first, second = await take(events, 2)
                assert (first.resumed, first.missed, first.at) == (True, 0, starts["t"])
                assert (second.resumed, second.missed, second.reason) == (False, 1, "limit")
                said = [event.message for event in await take(events, 5)]
                assert said == ["t0", "u1", "t1", "u2", "t2"]
            # The positions of one are where the next goes on.
            async with hub.follow("t", since=starts["t"]) as events:
                await take(events, 2)
                positions = events.positions
            async with hub.follow("t", since=positions) as events:
                assert [event.message for event in (await take(events, 3))[1:]] == ["t1", "t2"]

        loop.run(scenario())

    def test_the_end(self, loop: ManualLoop) -> None:
        async def scenario() -> list[Any]:
            hub = made(t=5, u=5)
            async with hub, hub.follow("t", "u") as events:
                waiting = asyncio.ensure_future(collect(events))
                await asyncio.sleep(0)
                hub.publish("t", "last")
                await hub.close()
                return await waiting

        async def collect(events: Follower) -> list[Any]:
            return [event async for event in events]

        said = loop.run(scenario())
        assert [type(event) for event in said] == [Synced, Synced, Message, Ended, Ended]
        assert {event.topic for event in said[3:]} == {"t", "u"}

    def test_a_cancelled_step_loses_nothing(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            hub = made(t=5)
            async with hub.follow("t") as events:
                await anext(events)
                waiting = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
                await asyncio.sleep(0)
                hub.publish("t", "1")
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert (await anext(events)).message == "1"  # type: ignore[union-attr]

        loop.run(scenario())

    def test_others_run_while_one_takes_much(self, run: Run) -> None:
        async def scenario() -> bool:
            hub = made(t=10 * EVENTS_AT_ONCE)
            at = await hub.position("t")
            for number in range(9 * EVENTS_AT_ONCE):
                hub.publish("t", str(number))
            async with hub.follow("t", since=at) as events:
                taking = asyncio.ensure_future(take(events, 9 * EVENTS_AT_ONCE))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                done = taking.done()
                await taking
                return done

        assert run(scenario()) is False


class TestUse:
    def test_in_its_block_only(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            hub = made(t=5)
            follower = hub.follow("t")
            with pytest.raises(RuntimeError, match="async with"):
                await anext(follower)
            async with follower as events:
                with pytest.raises(RuntimeError, match="used already"):
                    await events.__aenter__()
                waiting = asyncio.ensure_future(take(events, 2))
                await asyncio.sleep(0)
                with pytest.raises(ConcurrencyError):
                    await anext(events)
            with pytest.raises(RuntimeError, match="async with"):
                await waiting
            assert follower.positions == {"t": await hub.position("t")}
            hub.publish("t", "nobody follows")

        loop.run(scenario())

    @pytest.mark.parametrize(
        ("topics", "since", "error"),
        [
            ((), None, ValueError),
            (("t", "t"), None, ValueError),
            (("plain",), None, ValueError),
            (("t", "u"), "a:1", ValueError),
            (("t",), "garbage", ValueError),
            (("t",), {"u": "a:1"}, ValueError),
            (("t",), {"t": 5}, TypeError),
            (("t",), 5, TypeError),
        ],
    )
    def test_bad_arguments(
        self, loop: ManualLoop, topics: tuple[str, ...], since: Any, error: type[Exception]
    ) -> None:
        async def scenario() -> None:
            with pytest.raises(error):
                made(t=5, u=5).follow(*topics, since=since)

        loop.run(scenario())


STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "take", "time"]), st.sampled_from("tu"), st.integers(1, 12)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_each_message_exactly_once_or_told(steps: list[tuple[str, str, int]]) -> None:
    with ManualLoop() as loop:  # type: ignore[abstract]

        async def scenario() -> None:
            hub = made(t=5, u=3)
            published = {"t": 0, "u": 0}
            seen = {"t": 0, "u": 0}

            def check(event: Any) -> None:
                if isinstance(event, Gap):
                    assert (event.missed > 0, event.reason) == (True, "slow")
                    seen[event.topic] += event.missed
                elif isinstance(event, Message):
                    seen[event.topic] += 1
                    assert int(event.message) == seen[event.topic] == event.at.offset

            async with hub.follow("t", "u") as events:
                for verb, topic, number in steps:
                    if verb == "publish":
                        for _ in range(number):
                            published[topic] += 1
                            hub.publish(topic, str(published[topic]))
                    elif verb == "time":
                        loop.advance(number * 10.0)
                    for _ in range(number if verb == "take" else 0):
                        if seen == published:
                            break
                        check(await anext(events))
                while seen != published:
                    check(await anext(events))
                assert events.positions == {
                    name: Position(at.epoch, number)
                    for name, number in seen.items()
                    for at in [await hub.position(name)]
                }

        loop.run(scenario())


class TestAnotherBlock:
    def test_it_goes_on_where_it_was(self, loop: ManualLoop) -> None:
        async def scenario() -> None:
            hub = made(t=5)
            hub.topic("k", mode="keyed")
            start = await hub.position("t")
            follower = hub.follow("t", "k", since={"t": start})
            assert follower.positions == {}
            for number in range(4):
                hub.publish("t", str(number))
            async with follower as events:
                await take(events, 4)  # both beginnings, "0", and that the keyed one has nothing
            at = follower.positions["t"]
            assert at == start.after(1)
            hub.publish("t", "4")
            hub.publish("k", json=1, key="a")
            async with follower as events:
                first, second, *rest = await take(events, 8)
                assert (first.resumed, first.at, second.resumed) == (True, at, True)
                assert [event.message for event in rest if isinstance(event, Message)] == [
                    *["1", "1", "2", "3", "4"]
                ]
            assert follower.positions["t"] == await hub.position("t")

        loop.run(scenario())
