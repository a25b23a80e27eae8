"""Hubs of one test that share as those of several workers do."""

from __future__ import annotations

import asyncio
import os

import pytest

import fastws
from fastws import Hub
from fastws.testing import ManualLoop, memory_broker, pair, until
from tests.kit.buses import Listener


def listening(hub: Hub, *topics: str) -> Listener:
    one = Listener()
    for topic in topics or ("t",):
        hub.subscribe(one, topic)
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

    async def test_one_that_numbers_its_topics(self) -> None:
        one, two = Hub(), Hub()
        two.topic("t", history=3)
        with pytest.raises(ValueError, match="with a history or keys"):
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
