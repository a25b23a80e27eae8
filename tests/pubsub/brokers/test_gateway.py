"""A gateway and the workers of its node, at a broker in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastws import BrokerUnavailable, Hub
from fastws.pubsub.brokers.base import Append, Appended, BrokerTopic, Item, ItemTooLarge
from fastws.pubsub.bus import following
from fastws.pubsub.gateway.gateway import Gateway
from fastws.pubsub.keeper.changes import Verb, encode_wanted
from fastws.pubsub.keeper.questions import TooLarge
from fastws.testing import BrokerServer
from fastws.testing.broker_server import ServerBroker
from tests.kit import until
from tests.kit.keepers import Client, Worker
from tests.kit.nodes import beat, heard, missed, nodes, of_topic, rejoined


class Node:
    """One with several workers."""

    def __init__(self, server: BrokerServer, name: str, workers: int = 2, **settings: Any) -> None:
        self.server = server
        self.name = name
        self.dropped: list[int] = []
        self.workers = [Worker(number + 1, **settings) for number in range(workers)]
        for worker in self.workers:
            worker.hub.topic("k", mode="keyed")
        self.gateway: Gateway | None = None

    async def start_gateway(self) -> None:
        self.gateway = Gateway(self.server.broker(), node=self.name, dropped=self.dropped.append)
        for worker in self.workers:
            ours, theirs = socket.socketpair()
            worker.bus.add_peer(ours, self.gateway.identity)
            lines = socket.socketpair()
            self.gateway.add_worker(theirs, lines[0], worker.bus.identity)
            worker.connect(lines[1])
        await self.gateway.start(5)

    async def kill_gateway(self) -> None:
        """As SIGKILL does: nobody is told anything more."""
        assert self.gateway is not None
        gateway, self.gateway = self.gateway, None
        gateway.keeper.close()
        broker: Any = gateway._broker
        broker._sink = None
        await gateway.bus.close()


@asynccontextmanager
async def site(server: BrokerServer, count: int = 2, workers: int = 2, **settings: Any) -> AsyncIterator[Any]:
    found = [Node(server, f"node{number}", workers, **settings) for number in range(count)]
    for node in found:
        for number, worker in enumerate(node.workers):
            for other in node.workers[:number]:
                left, right = socket.socketpair()
                worker.bus.add_peer(left, other.bus.identity)
                other.bus.add_peer(right, worker.bus.identity)
            await worker.bus.start()
        await node.start_gateway()
    try:
        yield found
    finally:
        for node in found:
            for worker in node.workers:
                await worker.bus.close()
            if node.gateway is not None:
                await node.gateway.close()


async def test_all_workers_of_all_nodes_hear_each_message_once() -> None:
    async with site(BrokerServer()) as (one, two):
        hubs = [worker.hub for node in (one, two) for worker in node.workers]
        plain = [await of_topic(hub, "p") for hub in hubs]
        kept = [await of_topic(hub, "t") for hub in hubs]
        await until(lambda: all(client.syncs for client in kept))
        for number in range(10):
            for name, hub in enumerate(hubs):
                hub.publish("p", f"{name}:{number}")
                hub.publish("t", f"{name}:{number}")
            await asyncio.sleep(0)
        for client in [*plain, *kept]:
            await until(lambda client=client: len(heard(client)) == 40)
        assert all(heard(client) == heard(kept[0]) for client in kept)
        assert all(sorted(heard(client)) == sorted(heard(plain[0])) for client in plain)
        assert not any(client.gaps for client in plain)


async def test_the_next_gateway_goes_on_in_the_same_epoch() -> None:
    """What the first one had not handed on comes once. Who listens to plain topics is told of a gap."""
    server = BrokerServer()
    async with site(server) as (one, two):
        first, second = (worker.hub for worker in one.workers)
        clients = [await of_topic(hub, "t") for hub in (first, second, two.workers[0].hub)]
        await until(lambda: all(client.syncs for client in clients))
        for number in range(5):
            first.publish("t", str(number))
        plain = [await of_topic(hub, "p") for hub in (first, second, two.workers[0].hub)]
        second.publish("p", "0")
        await until(lambda: all(heard(client) == ["0"] for client in plain))
        await first.publish_confirmed("t", "5")
        first.publish("k", "1", key="a")
        first.publish("t", "6")
        first.publish("t", "7")
        for _ in range(3):  # it is with the gateway, or with the broker, which has not answered
            await asyncio.sleep(0)
        await one.kill_gateway()
        first.publish("t", "8")
        second.publish("p", "nobody there has this")
        two.workers[1].hub.publish("p", "nobody here has this")
        await asyncio.sleep(0)
        two.workers[1].hub.publish("t", "9 from there")
        await one.start_gateway()
        await first.publish_confirmed("t", "10")
        for client in clients:
            await until(lambda client=client: "10" in heard(client))
            assert len(client.syncs) == 1 and not client.gaps
            own = [text for text in heard(client) if "there" not in text]
            assert own == [*map(str, range(9)), "10"]
        assert await two.workers[0].hub.snapshot("k") == {"a": "1"}
        assert plain[0].gaps == plain[1].gaps == [("p", None, "broker")]
        second.publish("p", "1")
        await until(lambda: heard(plain[2]) == ["0", "nobody here has this", "1"])
        assert plain[2].gaps == [("p", None, "broker")]


async def test_a_confirmed_message_is_refused_at_once_and_for_good() -> None:
    """Neither this gateway nor the next one publishes it later."""
    server = BrokerServer()
    async with site(server, workers=1) as (one, two):
        hub = one.workers[0].hub
        client = await of_topic(two.workers[0].hub, "t")
        await until(lambda: client.syncs)
        await hub.publish_confirmed("t", "1")
        server.stop()
        hub.publish("t", "2")
        with pytest.raises(BrokerUnavailable, match="memory is away: the server is stopped"):
            await hub.publish_confirmed("t", "never")
        await one.kill_gateway()
        server.start()
        await one.start_gateway()
        await hub.publish_confirmed("t", "3")
        await until(lambda: heard(client) == ["1", "2", "3"])


async def test_a_worker_that_was_away_from_plain_topics_is_told_what_it_missed() -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        client = await of_topic(two, "t")
        one.publish("t", "1")
        await until(lambda: heard(client) == ["1"])
        server.stop()
        for number in range(40):
            one.publish("t", "x" * 500_000)  # of 20 MB, 8 MiB wait
            if number % 2:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        one.publish("u", "another topic")
        await asyncio.sleep(0.05)
        server.start()
        one.publish("t", "end")
        await until(lambda: "end" in heard(client))
        assert client.gaps and len(heard(client)) + missed(client) == 42
        assert 10 < missed(client) < 30


async def test_who_follows_a_topic_again_is_not_told_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "LINGER_TICKS", 1)
    server = BrokerServer()
    brokers: list[Any] = []

    def make() -> Any:
        brokers.append(server.broker())
        return brokers[-1]

    async with nodes(make) as (one, two):
        broker = brokers[1]
        client = await of_topic(two, "t")
        await until(lambda: "default/t" in broker._followed)
        one.publish("t", "1")
        await until(lambda: heard(client) == ["1"])
        two.unsubscribe(client, "t")
        await until(lambda: "default/t" not in broker._followed)
        one.publish("t", "2")
        await asyncio.sleep(0.02)
        again = await of_topic(two, "t")
        await until(lambda: "default/t" in broker._followed)
        one.publish("t", "3")
        await until(lambda: heard(again) == ["3"])
        assert not again.gaps


async def test_the_end_of_what_was_dropped_is_told_within_two_seconds() -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        client = await of_topic(two, "t")
        one.publish("t", "1")
        await until(lambda: heard(client) == ["1"])
        server.stop()
        one.publish("t", "2")
        await asyncio.sleep(0.02)
        for _ in range(20):
            one.publish("u", "x" * 500_000)
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        server.start()
        beat()
        await until(lambda: client.gaps == [("t", 1, "broker")])


async def test_what_the_broker_refuses_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        client = await of_topic(one, "h")
        await one.publish_confirmed("h", "1")
        server.refusal = "it is full"
        one.publish("h", "2")
        with pytest.raises(BrokerUnavailable, match="memory: it is full"):
            await one.publish_confirmed("h", "3")
        await until(lambda: client.gaps == [("h", 1, "broker")])
        late = of_topic(two, "h")  # what cannot be read is tried again
        reading = asyncio.ensure_future(late)
        await until(lambda: "it is full; until that has changed" in caplog.text)
        server.refusal = ""
        await reading
        beat()
        assert "1 messages were not published: memory: it is full" in caplog.text
        one.publish("h", "4")
        await until(lambda: heard(client) == ["1", "4"])


async def test_a_message_that_can_never_be_appended_is_told_from_one_that_can_later() -> None:
    server = BrokerServer()
    broker = server.broker()

    def append(topic: BrokerTopic, run: Append) -> asyncio.Future[Appended]:
        if len(run.items[0].body) < 1000:
            return ServerBroker.append(broker, topic, run)
        refused: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        refused.set_exception(ItemTooLarge("a message may have 999 bytes there"))
        return refused

    broker.append = append  # type: ignore[method-assign]
    async with nodes(lambda: broker, 1) as (hub,):
        with pytest.raises(TooLarge, match="memory: a message may have 999 bytes there"):
            await hub.publish_confirmed("h", "x" * 1000)
        with pytest.raises(TooLarge):
            await hub.publish_confirmed("k", f'"{1000 * "x"}"', key="a")
        assert (await hub.publish_confirmed("h", "x")).at.offset == 1
        server.refusal = "it is full"
        with pytest.raises(BrokerUnavailable, match="it is full") as refused:
            await hub.publish_confirmed("h", "y")
        assert not isinstance(refused.value, TooLarge)


async def test_settings_are_those_of_who_uses_the_topic() -> None:
    """When the others have left, a node with other settings may have it."""
    server = BrokerServer()
    old, new = Hub(broker=server.broker()), Hub(broker=server.broker())
    old.topic("h", history=10)
    new.topic("h", history=20)
    await old.start()
    await new.start()
    await old.publish_confirmed("h", "1")
    with pytest.raises(BrokerUnavailable, match="history=10 there, and history=20 here"):
        await new.publish_confirmed("h", "2")
    await old.close()
    await rejoined(new)
    await new.close()


async def test_a_message_that_is_too_large_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        client = await of_topic(two, "t")
        one.publish("t", "1")
        one.publish("t", "x" * (17 * 1024 * 1024))
        one.publish("t", "2")
        await until(lambda: heard(client) == ["1", "2"])
        assert client.gaps == [("t", 1, "broker")]
        beat()
        assert "1 messages were dropped: a message may have about 16777216 bytes" in caplog.text


async def test_a_topic_that_nobody_follows_is_heard_no_more() -> None:
    server = BrokerServer()
    async with site(server, count=1, workers=1) as (node,):
        (worker,) = node.workers
        client = await of_topic(worker.hub, "t")
        await until(lambda: client.syncs)
        await worker.hub.publish_confirmed("t", "1")
        broker: Any = node.gateway._broker
        assert broker._watched == {"default/t"}
        worker.hub.unsubscribe(client, "t")
        worker.topic.idle_ticks = 100
        worker.keeper.tick()
        await asyncio.sleep(0.02)
        for _ in range(6):
            node.gateway._tick()
        assert broker._watched == set()
        again = await of_topic(worker.hub, "t", recent=5)
        await until(lambda: heard(again) == ["1"])


async def test_a_client_that_was_ahead_of_this_node_waits_for_what_it_has() -> None:
    """Its position is of another node, which has heard of the message before."""
    server = BrokerServer()
    async with site(server, workers=1) as (one, two):
        await of_topic(two.workers[0].hub, "t")
        broker: Any = two.gateway._broker
        tell, broker._tell = broker._tell, lambda *_: None
        at = (await one.workers[0].hub.publish_confirmed("t", "1")).at
        ahead = await of_topic(two.workers[0].hub, "t", since=at)
        await until(lambda: ahead.syncs)
        assert ahead.syncs[0].resumed is True
        broker._tell = tell
        await one.workers[0].hub.publish_confirmed("t", "2")
        await until(lambda: heard(ahead) == ["2"])


async def test_notices_that_were_lost_are_read() -> None:
    server = BrokerServer()
    async with site(server, workers=1) as (one, two):
        client = await of_topic(two.workers[0].hub, "t")
        await until(lambda: client.syncs)
        broker: Any = two.gateway._broker
        tell, broker._tell = broker._tell, lambda *_: None
        await one.workers[0].hub.publish_confirmed("t", "1")
        broker._tell = tell
        await one.workers[0].hub.publish_confirmed("t", "2")
        await until(lambda: heard(client) == ["1", "2"])
        assert not client.gaps


async def test_more_than_is_kept_while_the_line_was_lost_is_told() -> None:
    server = BrokerServer()
    async with site(server, workers=1, history=3) as (one, two):
        client = await of_topic(two.workers[0].hub, "t")
        await until(lambda: client.syncs)
        broker: Any = two.gateway._broker
        tell, broker._tell = broker._tell, lambda *_: None
        for number in range(10):
            await one.workers[0].hub.publish_confirmed("t", str(number))
        broker._tell = tell
        await one.workers[0].hub.publish_confirmed("t", "10")
        await until(lambda: heard(client) == ["8", "9", "10"])
        assert missed(client) == 8


async def test_what_is_no_message_stands_where_it_was_as_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = BrokerServer()
    async with nodes(server.broker) as (one, two):
        await one.publish_confirmed("h", "1")
        await one.publish_confirmed("h", "2")
        log = server.topics["default/h"].log
        entry, time = log[1]
        log[1] = entry._replace(item=Item(b"?")), time
        client = await of_topic(two, "h", recent=5)
        await until(lambda: heard(client) == ["1", ""])
        assert "the broker keeps at 2 a message of an unknown kind" in caplog.text


async def test_a_worker_that_publishes_what_is_no_change_is_let_go() -> None:
    async with site(BrokerServer(), count=1) as (node,):
        worker = node.workers[0]
        await worker.hub.publish_confirmed("k", "1", key="a")
        topic = worker.keeper.topics[b"default\0k"]
        worker.keeper.queue.publish(topic, encode_wanted(Verb.PUT, "", b"1"))
        await until(lambda: node.dropped == [1])


async def test_a_kind_that_was_changed_begins_anew() -> None:
    server = BrokerServer()
    old, new = Hub(broker=server.broker()), Hub(broker=server.broker())
    old.topic("h", history=10)
    new.topic("h", mode="keyed")
    await old.start()
    await old.publish_confirmed("h", "1")
    await old.close()
    await new.start()
    await new.publish_confirmed("h", "2", key="a")
    assert await new.snapshot("h") == {"a": "2"}
    await new.close()


@pytest.mark.parametrize("first", ["publish", "confirmed", "subscribe", "history"])
def test_a_hub_that_was_made_before_the_loop_joins_at_its_first_use(first: str) -> None:
    """Also where that is of a topic that the broker numbers."""
    server = BrokerServer()
    hub = Hub(broker=server.broker())
    hub.topic("h", history=100)

    async def use() -> None:
        async with nodes(server.broker, count=1) as (other,):
            client = Client()
            match first:
                case "publish":
                    hub.publish("h", "1")
                case "confirmed":
                    await hub.publish_confirmed("h", "1")
                case "subscribe":
                    hub.subscribe(client, "h")
                    await until(lambda: client.syncs)
                    hub.publish("h", "1")
                case "history":
                    assert await hub.history("h") == []
                    hub.publish("h", "1")
            there = await of_topic(other, "h", recent=5)
            await until(lambda: heard(there) == ["1"])
            await hub.close()

    asyncio.run(use())


async def test_what_is_on_its_way_when_a_topic_is_refused() -> None:
    """It is told to be lost, and no worker ends for it; when the broker takes the topic again all goes on."""
    async with site(BrokerServer(), 1, 1) as (one,):
        (worker,) = one.workers
        client = await of_topic(worker.hub, "t")
        await until(lambda: client.syncs)
        await worker.hub.publish_confirmed("t", "1")
        keeper = one.gateway.keeper
        topic = keeper.relayed["default/t"]
        keeper._refuse(topic, list(topic.users), "it is full")
        worker.hub.publish("t", "2")
        with pytest.raises(BrokerUnavailable, match="it is full"):
            await worker.hub.publish_confirmed("t", "3")
        await until(lambda: client.gaps == [("t", None, "broker")])
        assert keeper._refused == {"it is full": 1}
        worker.hub.publish("t", "4")
        worker.keeper.tick()
        await until(lambda: heard(client) == ["1", "4"])
        await worker.hub.publish_confirmed("t", "5")
        await until(lambda: heard(client) == ["1", "4", "5"])
        assert one.dropped == [] and client.gaps == [("t", None, "broker")]
