"""Clients of feeds at random: each message comes exactly once and in order, or its absence is told."""

from __future__ import annotations

import random
from typing import Any

import pytest

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client

TOPICS = {"kept": 20, "few": 3, "plain": 0}


class World:
    """Some clients, and what has been published to each topic so far: the numbers 1, 2, 3 and so on."""

    def __init__(self, loop: ManualLoop, chance: random.Random) -> None:
        self.loop, self.chance = loop, chance
        self.hub = fastws.Hub(policy="drop_oldest")
        for topic, history in TOPICS.items():
            if history:
                self.hub.topic(topic, history=history)
        self.feed = fastws.Feed(self.hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
        self.published = dict.fromkeys(TOPICS, 0)
        first = Client(loop, self.feed)
        self.server = first.server
        self.writer = first
        self.writer.said()
        self.clients = [Reader(self) for _ in range(5)]

    def publish(self, topic: str, count: int) -> None:
        for _ in range(count):
            self.published[topic] += 1
            number = self.published[topic]
            pad = "x" * self.chance.choice([1, 100, 5000])
            if self.chance.random() < 0.1:
                self.loop.advance(0.1)
                self.writer.say(f'{{"pub":"{topic}","d":[{number},"{pad}"]}}')
            else:
                self.hub.publish(topic, json=[number, pad])


class Reader:
    """A client that checks what it is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        #: The number of the last message that it has, or knows that it does not come; and where it was.
        self.last: dict[str, int] = {}
        self.ats: dict[str, str] = {}
        self.live: set[str] = set()
        self.begins: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        query = "&".join(f"topic={topic}&since={self.ats.get(topic, '')}" for topic in TOPICS)
        self.begins = dict(self.world.published)
        self.live.clear()
        self.client = Client(self.world.loop, self.world.server, "?" + query)

    def check(self) -> None:
        for said in self.client.said():
            if isinstance(said, dict) and "t" in said:
                self.take(said["t"], said)

    def take(self, topic: str, said: dict[str, Any]) -> None:
        if "sync" in said:
            sync = said["sync"]
            if sync["resumed"] is None or sync["missed"] is None:
                self.last[topic] = self.begins[topic]
            else:
                # Not from the last gap on: what was behind that is missed again.
                self.last[topic] = int(self.ats[topic].rpartition(":")[2]) + sync["missed"]
            if sync["at"] is not None:
                self.ats[topic] = sync["at"]
                assert int(sync["at"].rpartition(":")[2]) == self.last[topic]
        elif "gap" in said:
            self.last[topic] += said["gap"]["missed"]
        elif "live" in said:
            assert topic not in self.live
            self.live.add(topic)
        else:
            assert said["d"][0] == self.last[topic] + 1
            self.last[topic] += 1
            if "at" in said:
                self.ats[topic] = said["at"]
                assert int(said["at"].rpartition(":")[2]) == self.last[topic]

    def come_again(self) -> None:
        """Cut the line, and come back with the positions of what was taken."""
        self.client.raw.transport.lose()
        self.world.loop.settle()
        self.open()


@pytest.mark.parametrize("seed", range(12))
def test_each_message_once_or_told(loop: ManualLoop, seed: int) -> None:
    chance = random.Random(seed)
    world = World(loop, chance)
    for _ in range(250):
        reader = chance.choice(world.clients)
        match chance.randrange(8):
            case 0:
                reader.client.raw.stall(chance.choice([0, 1, 1000]))
            case 1:
                reader.client.raw.read(chance.choice([10, 3000, 100_000]))
            case 2:
                reader.client.raw.read()
            case 3:
                reader.check()
                reader.come_again()
            case 4:
                reader.check()
            case _:
                world.publish(chance.choice(list(TOPICS)), chance.choice([1, 1, 3, 30]))
        if chance.random() < 0.7:
            loop.settle()
    for reader in world.clients:
        reader.client.raw.read()
        reader.check()
        assert reader.last == world.published
        assert reader.live == set(TOPICS)
