"""Who is here on several nodes, which a broker joins: a node that dies leaves no ghost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.pubsub.brokers.nats import NatsBroker
from fastws.pubsub.brokers.redis_broker import RedisBroker
from fastws.pubsub.presence.others import BEAT_SECONDS, GONE_SECONDS, LOST_SECONDS
from fastws.testing import BrokerServer, Clock
from tests.kit import until
from tests.kit.buses import Listener
from tests.kit.nats import Nats, need_nats
from tests.kit.nodes import nodes_in_time, pumped
from tests.kit.redis import Redis, need_redis
from tests.pubsub.presence.watchers import Watcher

#: Until others have heard of a change, and clients there.
SOON = 1.0


def nodes(clock: Clock, *brokers: Any) -> AbstractAsyncContextManager[list[fastws.Hub]]:
    return nodes_in_time(clock, *brokers, t={"presence": "list"})


def join(hub: fastws.Hub, name: str) -> Listener:
    client = Listener()
    hub.subscribe(client, "t", present=name)
    return client


async def ids(hub: fastws.Hub) -> list[str]:
    return sorted(f"{each.id} {each.connections}" for each in (await hub.presence("t")).members or ())


async def test_nodes_know_who_is_on_others() -> None:
    with Clock() as clock:
        server = BrokerServer()
        async with nodes(clock, *[server.broker() for _ in range(3)]) as (one, two, three):
            watcher = Watcher(one)
            join(two, "ann")
            tab = join(three, "ann")
            join(three, "bob")
            await clock.advance(SOON)
            for hub in (one, two, three):
                assert await pumped(clock, ids(hub)) == ["ann 2", "bob 1"]
            tab.outbox.leave_topics()
            await clock.advance(LOST_SECONDS + SOON)
            assert watcher.told()[-1] == {"count": 2, "join": [{"id": "ann", "n": 1, "info": None}]}
            await pumped(clock, three.close())
            await clock.advance(LOST_SECONDS + SOON)
            assert watcher.told() == [{"count": 1, "leave": ["bob"]}]


async def test_a_node_that_dies_and_one_that_was_cut_off() -> None:
    with Clock() as clock:
        server = BrokerServer()
        brokers = [server.broker() for _ in range(2)]
        async with nodes(clock, *brokers) as (one, two):
            watcher = Watcher(one)
            join(two, "ann")
            await clock.advance(SOON)
            watcher.told()
            brokers[1]._server = BrokerServer()  # whatever it says, nobody hears it
            await clock.advance(GONE_SECONDS - BEAT_SECONDS - SOON)
            assert watcher.told() == []
            await clock.advance(BEAT_SECONDS + 2 * SOON)
            assert watcher.told() == [{"count": 0, "leave": ["ann"]}]
            join(two, "bob")
            await clock.advance(SOON)
            brokers[1]._server = server
            await clock.advance(BEAT_SECONDS + SOON)
            assert sorted(each["id"] for each in watcher.told()[-1]["join"]) == ["ann", "bob"]


async def test_a_broker_that_is_away() -> None:
    with Clock() as clock:
        server = BrokerServer()
        async with nodes(clock, *[server.broker() for _ in range(2)]) as (one, two):
            watcher = Watcher(one)
            join(one, "here")
            join(two, "ann")
            await clock.advance(SOON)
            server.stop()
            await clock.advance(GONE_SECONDS + SOON)
            assert watcher.told()[-1] == {"count": 1, "leave": ["ann"]}  # nobody can know any more
            join(two, "bob")
            server.start()
            await clock.advance(BEAT_SECONDS + SOON)
            assert await pumped(clock, ids(one)) == await pumped(clock, ids(two)) == [
                "ann 1", "bob 1", "here 1"
            ]  # fmt: skip


@pytest.fixture(params=["redis", "nats"])
def brokers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Any]]:
    """Two nodes' ways to a real broker."""
    is_redis = request.param == "redis"
    (need_redis if is_redis else need_nats)()
    with Redis(tmp_path / "r") if is_redis else Nats(tmp_path / "n") as server:
        make: Any = RedisBroker if is_redis else NatsBroker
        yield [make(server.url) for _ in range(2)]


@pytest.mark.live
@pytest.mark.system
async def test_over_a_real_broker(brokers: list[Any]) -> None:
    one, two = [fastws.Hub(broker=broker) for broker in brokers]
    for hub in (one, two):
        hub.topic("t", presence="list")
        await hub.start()
    try:
        watcher = Watcher(one)
        client = join(two, "ann")
        told: list[Any] = []
        await until(lambda: told.extend(watcher.told()) or (told and told[-1]["count"] == 1))
        assert await ids(one) == await ids(two) == ["ann 1"]
        client.outbox.leave_topics()
        async with asyncio.timeout(20):
            while told[-1]["count"]:
                await asyncio.sleep(0.1)
                told += watcher.told()
    finally:
        for hub in (one, two):
            await hub.close()
