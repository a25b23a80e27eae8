"""Hubs of one test that share as those of several workers do."""

from __future__ import annotations

import asyncio
import os

import pytest

import fastws
from fastws import Hub
from fastws.testing import ManualLoop, memory_broker, pair, until
from tests.kit.buses import Listener
from tests.kit.keepers import Client


def listening(hub: Hub, *topics: str) -> Listener:
    one = Listener()
    for topic in topics or ("t",):
        hub.subscribe(one, topic)
    return one


async def told(hub: Hub, topic: str = "t") -> Client:
    """A client that was told where it begins."""
    one = Client()
    synced = hub.subscribe(one, topic)
    await until(lambda: synced or one.syncs, "the keeper has answered")
    return one


def heard(one: Listener) -> list[str]:
    one.heard += one.take()
    return [str(text) for text in one.heard]


@pytest.mark.parametrize("count", [2, 3, 6])
async def test_each_hears_what_the_others_publish(count: int) -> None:
    hubs = [Hub() for _ in range(count)]
    async with memory_broker(*hubs):
        clients = [listening(hub) for hub in hubs]
        for number, hub in enumerate(hubs):
            # Behind the answers it is known who follows what: of six hubs each is sent that alone.
            assert await hub.total("t") == count
            assert hub.publish("t", str(number)) == 1
        for client in clients:
            await until(lambda client=client: len(heard(client)) == count)
    for client in clients:
        assert sorted(heard(client)) == sorted(map(str, range(count)))


async def test_the_order_of_a_hub_is_kept_over_all_topics() -> None:
    one, two = Hub(), Hub()
    async with memory_broker(one, two):
        client = listening(two, "t", "u")
        for number in range(500):
            one.publish("tu"[number % 2], str(number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(heard(client)) == 500)
    assert heard(client) == [str(number) for number in range(500)]


class TestStop:
    async def test_what_is_published_meanwhile_waits(self) -> None:
        one, two = Hub(), Hub()
        async with memory_broker(one, two) as broker:
            here, there = listening(one), listening(two)
            broker.stop()
            broker.stop()
            for number in range(100):
                one.publish("t", f"{number:04000}")
            await until(lambda: len(heard(here)) == 100)
            assert heard(there) == []
            broker.start()
            broker.start()
            await until(lambda: len(heard(there)) == 100)
        assert [int(text) for text in heard(there)] == list(range(100))
        assert there.gaps == []

    async def test_the_end_of_the_block_does_not_wait_for_it(self) -> None:
        one, two = Hub(), Hub()
        async with memory_broker(one, two) as broker:
            broker.stop()
            one.publish("t", "x" * 100_000)


class TestLose:
    @pytest.mark.parametrize(
        ("lost", "arrives"),
        [(1, [1, 2, 3, 4]), (3, [3, 4]), (5, [])],
    )
    async def test_the_next_messages_are_lost_and_told(self, lost: int, arrives: list[int]) -> None:
        one, two, three = Hub(), Hub(), Hub()
        async with memory_broker(one, two, three) as broker:
            clients = [listening(hub) for hub in (one, two, three)]
            one.publish("t", "before")
            for client in clients:
                await until(lambda client=client: heard(client) == ["before"])
            broker.lose(lost)
            for number in range(5):
                one.publish("t", str(number))
            one.publish("t", "last")
            expected = [str(number) for number in arrives]
            if lost < 6:
                for client in clients[1:]:
                    await until(lambda client=client: heard(client) == ["before", *expected, "last"])
                    assert client.gaps == [("t", lost, "bus")]
            here = clients[0]
            assert heard(here) == ["before", *map(str, range(5)), "last"]
            assert here.gaps == []

    async def test_of_several_topics(self) -> None:
        one, two = Hub(), Hub()
        async with memory_broker(one, two) as broker:
            client = listening(two, "t", "u")
            for topic in ("t", "u"):
                one.publish(topic, "before")
            await until(lambda: len(heard(client)) == 2)
            broker.lose(2)
            for topic in ("t", "u", "t", "u"):
                one.publish(topic, topic)
            await until(lambda: len(heard(client)) == 4)
        assert sorted(client.gaps) == [("t", 1, "bus"), ("u", 1, "bus")]

    async def test_the_last_one_is_told_within_a_second(self) -> None:
        one, two = Hub(), Hub()
        async with memory_broker(one, two) as broker:
            client = listening(two)
            one.publish("t", "before")
            await until(lambda: heard(client) == ["before"])
            broker.lose(1)
            one.publish("t", "lost")
            await until(lambda: client.gaps == [("t", 1, "bus")])


class TestNumbered:
    """Topics with a history or keys: a keeper numbers them, as that of several workers does."""

    def hubs(self) -> list[Hub]:
        found = [Hub() for _ in range(3)]
        for hub in found:
            hub.topic("t", history=100)
            hub.topic("k", mode="keyed")
        return found

    async def test_each_hub_has_the_same_at_the_same_positions(self) -> None:
        hubs = self.hubs()
        async with memory_broker(*hubs) as broker:
            clients = [await told(hub) for hub in hubs]
            broker.lose(5)  # of these nothing is lost
            for number in range(30):
                hubs[number % 3].publish("t", str(number))
            for client in clients:
                await until(lambda client=client: len(client.texts_so_far()) == 30)
            assert clients[0].texts_so_far() == clients[1].texts_so_far() == clients[2].texts_so_far()
            assert len({await hub.position("t") for hub in hubs}) == 1
            late = await told(hubs[1])
            hubs[0].publish("t", "last")
            await until(lambda: late.texts_so_far() == ["last"])

    async def test_keys(self) -> None:
        one, two, _ = hubs = self.hubs()
        async with memory_broker(*hubs):
            client = await told(two, "k")
            for number in range(10):
                one.publish("k", str(number), key="price")
            await until(lambda: any('"price":9' in text for text in client.texts_so_far()))

    async def test_while_it_is_stopped_nobody_hears_them(self) -> None:
        one, two, _ = hubs = self.hubs()
        async with memory_broker(*hubs) as broker:
            here, there = await told(one), await told(two)
            one.publish("t", "before")
            for client in (here, there):
                await until(lambda client=client: client.texts_so_far() == ["before"])
            broker.stop()
            one.publish("t", "waits")
            one.publish("plain", "does not")
            for _ in range(50):
                await asyncio.sleep(0)
            assert here.texts_so_far() == there.texts_so_far() == ["before"]
            broker.start()
            for client in (here, there):
                await until(lambda client=client: client.texts_so_far() == ["before", "waits"])

    async def test_what_is_forgotten_begins_in_another_epoch(self) -> None:
        one, two, _ = hubs = self.hubs()
        async with memory_broker(*hubs) as broker:
            client = await told(two)
            one.publish("t", "before")
            await until(lambda: client.texts_so_far() == ["before"])
            before = await two.position("t")
            for _ in range(3):
                broker.forget()
            one.publish("t", "after")
            await until(lambda: client.texts_so_far() == ["before", "after"])
            after = await two.position("t")
            assert before.epoch != after.epoch
            assert client.syncs[-1].reason == "epoch"

    async def test_afterwards_each_hub_numbers_for_itself(self) -> None:
        one, two, _ = hubs = self.hubs()
        async with memory_broker(*hubs):
            one.publish("t", "shared")
            await until(lambda: one.count("t") == 0)
        client = listening(one)
        one.publish("t", "own")
        two.publish("t", "other")
        await until(lambda: heard(client) == ["own"])


async def test_before_and_after_it_they_share_nothing() -> None:
    one, two = Hub(), Hub()
    client = listening(two)
    one.publish("t", "before")
    async with memory_broker(one, two):
        one.publish("t", "within")
        await until(lambda: heard(client) == ["within"])
    one.publish("t", "after")
    two.publish("t", "own")
    await until(lambda: len(heard(client)) == 2)
    assert heard(client) == ["within", "own"]
    async with memory_broker(two, one):
        one.publish("t", "again")
        await until(lambda: heard(client)[-1] == "again")


async def test_with_the_clients_of_two_servers() -> None:
    hubs = [Hub("chat"), Hub("chat")]

    def app(hub: Hub) -> object:
        async def chat(ws: fastws.WebSocket) -> None:
            hub.subscribe(ws, "room")
            async for message in ws:
                hub.publish("room", message)

        return chat

    async with memory_broker(*hubs), pair(app(hubs[0])) as ann, pair(app(hubs[1])) as bob:
        await until(lambda: hubs[1].count("room") == 1)
        await ann.send("hello")
        assert await bob.recv() == "hello"


class TestRefusals:
    def test_too_few_or_of_two_names(self) -> None:
        one = Hub()
        for hubs in ([], [one], [one, one]):
            with pytest.raises(ValueError, match="two hubs or more, each of them once"):
                memory_broker(*hubs)
        with pytest.raises(ValueError, match="share by their name"):
            memory_broker(one, Hub("chat"))

    async def test_one_that_shares_already(self) -> None:
        one, two = Hub(), Hub()
        async with memory_broker(one, two):
            with pytest.raises(ValueError, match="shares what is published already"):
                async with memory_broker(one, Hub()):
                    raise AssertionError
            client = listening(two)
            one.publish("t", "still")
            await until(lambda: heard(client) == ["still"])

    async def test_one_that_has_numbered_messages_itself(self) -> None:
        one, two = Hub(), Hub()
        two.topic("t", history=3)
        two.publish("t", "own")
        with pytest.raises(ValueError, match="has numbered messages itself"):
            async with memory_broker(one, two):
                raise AssertionError
        async with memory_broker(one, Hub()):
            pass

    def test_a_loop_without_sockets(self) -> None:
        with ManualLoop() as loop, pytest.raises(RuntimeError, match="has sockets"):
            loop.run(memory_broker(Hub(), Hub()).__aenter__())


async def test_no_socket_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    async with memory_broker(Hub(), Hub(), Hub()) as broker:
        broker.stop()
    assert os.listdir("/proc/self/fd") == before
