"""What a broker has lost or does not take is told, to clients of feeds as well, whoever publishes or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fastws
from fastws.testing import BrokerServer, pair
from tests.kit import until
from tests.kit.nodes import beat, heard, missed, nodes, of_topic

#: The broker is told so often a second that a topic is used.
DECLARE_TICKS = 5


async def test_clients_of_feeds_are_told_which_changes_do_not_come() -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        feed = fastws.Feed(one, may_subscribe=fastws.anyone)
        client = await of_topic(two, "k")
        async with pair(feed) as ws:
            await ws.send('{"sub":"k"}')
            await one.publish_confirmed("k", "1", key="a")
            server.refusal = "it is full"
            one.publish("k", "2", key="a")
            one.publish("k", "3", key="b")
            said: list[Any] = []
            while not said or "gap" not in said[-1]:
                said.append(json.loads(await ws.recv()))
            assert said[-1] == {"t": "k", "gap": {"missed": 2, "reason": "broker"}}
        assert not client.gaps  # what the broker has not taken is nothing for other nodes


async def test_data_that_is_lost_while_nobody_publishes_is_told() -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        clients = [await of_topic(two, name) for name in ("h", "k")]
        await one.publish_confirmed("h", "1")
        await one.publish_confirmed("k", "1", key="a")
        await until(lambda: all(heard(client) for client in clients))
        server.lose()
        for _ in range(DECLARE_TICKS):
            beat()
        for client in clients:
            await until(lambda client=client: client.syncs[-1].reason == "epoch")
        assert await two.snapshot("k") == {}


@pytest.mark.parametrize("topic", ["h", "k"])
async def test_one_message_that_is_too_large_takes_no_other_with_it(
    topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = BrokerServer()

    def make() -> Any:
        broker = server.broker()
        broker.max_bytes = 1000
        return broker

    async with nodes(make) as (one, two):
        here, there = await of_topic(one, topic), await of_topic(two, topic)
        for number, size in enumerate((1, 2000, 1)):
            options = {"key": str(number)} if topic == "k" else {}
            one.publish(topic, json="x" * size, **options)
        for client in (here, there):
            await until(lambda client=client: len("".join(heard(client)).split('"x"')) == 3)
            assert "xx" not in "".join(heard(client))
        await until(lambda: missed(here) == 1)
        beat()
        assert "a message may have 1000 bytes there" in caplog.text
