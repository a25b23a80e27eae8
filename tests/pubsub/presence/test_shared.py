"""Who is here in several processes that share a hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.presence import letters, others
from fastws.pubsub.presence.letters import Kind, read, write
from fastws.pubsub.presence.others import BEAT_SECONDS, GONE_SECONDS, LINGER_BEATS, LOST_SECONDS
from fastws.testing import Clock, MemoryBroker, memory_broker
from tests.kit.buses import Listener, Member, connect, members
from tests.pubsub.presence.watchers import Watcher

#: Until others have heard of a change, and clients there.
SOON = 1.0


@asynccontextmanager
async def sharing(
    count: int, presence: str = "list", **options: int
) -> AsyncIterator[tuple[Clock, list[Member]]]:
    """Members of a bus with a clock that stands still."""
    with Clock() as clock:
        async with members(count, bus_options=options) as found:
            for member in found:
                member.hub.topic("t", presence=presence)
                member.hub.topic("rooms/*", presence=presence)
            await clock.advance(SOON)
            yield clock, found
            await clock.advance(0)


def join(member: Member, name: str, topic: str = "t") -> Listener:
    client = Listener()
    member.hub.subscribe(client, topic, present=fastws.Member(name, info={"of": name}))
    return client


def known(name: str, connections: int = 1) -> fastws.Member:
    return fastws.Member(name, connections, {"of": name})


async def ids(member: Member, topic: str = "t") -> list[str]:
    found = await member.hub.presence(topic)
    assert found.members is not None and len(found.members) == found.count
    return sorted(f"{each.id} {each.connections}" for each in found.members)


@pytest.mark.parametrize("flooded", [3, 1])
async def test_one_user_in_two_processes(flooded: int) -> None:
    async with sharing(3, flooded_peers=flooded) as (clock, (one, two, three)):
        watcher = Watcher(three.hub)
        await clock.advance(SOON)
        join(one, "ann")
        tab = join(two, "ann")
        join(two, "bob")
        await clock.advance(SOON)
        for member in (one, two, three):
            assert await ids(member) == ["ann 2", "bob 1"]
        assert (await three.hub.presence("t")).members == (known("ann", 2), known("bob"))
        tab.outbox.leave_topics()
        await clock.advance(LOST_SECONDS + SOON)
        assert await ids(one) == ["ann 1", "bob 1"]
        told = watcher.told()
        assert told[0] == {"count": 0, "list": []}
        assert told[-1] == {"count": 2, "join": [{"id": "ann", "n": 1, "info": {"of": "ann"}}]}


async def test_who_looks_later_is_told_all() -> None:
    async with sharing(2) as (clock, (one, two)):
        for number in range(30):
            join(one, f"u{number}", "rooms/1")
        join(two, "elsewhere", "rooms/2")
        await clock.advance(SOON)
        waiting = asyncio.create_task(two.hub.presence("rooms/1"))
        await clock.advance(SOON)
        assert waiting.result().count == 30
        watcher = Watcher(two.hub, "rooms/1")
        await clock.advance(SOON)
        assert watcher.told()[-1]["count"] == 30
        assert (await one.hub.presence("rooms/1")).count == 30


async def test_a_process_that_dies_takes_its_members_along() -> None:
    async with sharing(3) as (clock, (one, two, three)):
        watcher = Watcher(one.hub)
        join(two, "ann")
        join(three, "bob")
        await clock.advance(SOON)
        assert three.bus is not None and one.bus is not None
        for peer in three.bus.peers:
            peer.close()  # as the kernel does
        await clock.advance(LOST_SECONDS - 0.5)
        assert await ids(one) == ["ann 1", "bob 1"]
        await clock.advance(1.5)
        assert await ids(one) == await ids(two) == ["ann 1"]
        assert watcher.told()[-1] == {"count": 1, "leave": ["bob"]}


async def test_a_line_that_is_cut_and_mended_in_time_is_nobodys_leaving() -> None:
    async with sharing(2) as (clock, (one, two)):
        watcher = Watcher(one.hub)
        join(two, "ann")
        await clock.advance(SOON)
        watcher.told()
        assert one.bus is not None and two.bus is not None
        for bus in (one.bus, two.bus):
            for peer in bus.peers:
                bus.drop(peer)
        join(two, "bob")
        await clock.advance(1)
        connect(one.bus, two.bus)
        await clock.advance(2 * LOST_SECONDS)
        assert await ids(one) == ["ann 1", "bob 1"]
        assert watcher.told() == [{"count": 2, "join": [{"id": "bob", "n": 1, "info": {"of": "bob"}}]}]


async def test_a_hub_that_is_closed_says_so_and_may_begin_again() -> None:
    async with sharing(2) as (clock, (one, two)):
        join(one, "ann")
        join(two, "bob")
        await clock.advance(SOON)
        assert await ids(one) == ["ann 1", "bob 1"]
        await two.hub.close()
        await clock.advance(LOST_SECONDS + SOON)
        assert await ids(one) == ["ann 1"]
        assert await ids(two) == ["bob 1"]
        await two.hub.start()
        await clock.advance(SOON)
        assert await ids(one) == ["ann 1", "bob 1"]


async def test_the_number_alone() -> None:
    async with sharing(2, "count") as (clock, (one, two)):
        watcher = Watcher(one.hub)
        join(one, "ann")
        join(two, "ann")
        join(two, "bob")
        await clock.advance(SOON)
        assert watcher.told()[-1] == {"count": 2}
        assert await two.hub.presence("t") == fastws.Presence("t", 2, None)


async def test_what_nobody_uses_here_is_forgotten() -> None:
    async with sharing(2) as (clock, (one, two)):
        watcher = Watcher(one.hub, "rooms/1")
        join(two, "ann", "rooms/1")
        await clock.advance(SOON)
        presences: Any = one.hub._presences
        assert [board.name for board in presences.others._followed] == ["rooms/1"]
        watcher.outbox.leave_topics()
        await clock.advance((LINGER_BEATS + 2) * BEAT_SECONDS)
        assert not presences.others._followed
        watcher = Watcher(one.hub, "rooms/1")
        await clock.advance(SOON)
        assert watcher.told()[-1]["count"] == 1


async def test_large_sets_come_in_parcels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "PARCEL_BYTES", 100)
    monkeypatch.setattr(others, "TOPICS_AT_ONCE", 3)
    async with sharing(2) as (clock, (one, two)):
        for number in range(50):
            join(one, f"u{number}", f"rooms/{number % 5}")
        await clock.advance(SOON)
        watchers = [Watcher(two.hub, f"rooms/{number}") for number in range(5)]
        await clock.advance(SOON)
        assert [watcher.told()[-1]["count"] for watcher in watchers] == [10] * 5


# -- letters that are lost, doubled, or nonsense ----------------------------------------------------


class Stranger:
    """An owner that is no peer, as one on another node."""

    def __init__(self, member: Member, id: str = "far") -> None:
        self._presences: Any = member.hub._presences
        self.id = id
        self.number = 0

    def say(
        self, kind: Kind, *rest: Any, number: int | None = None, entries: list[bytes] | None = None
    ) -> None:
        self.number += kind in letters.COUNTING
        frame = write(kind, self.id, self.number if number is None else number, *rest, entries=entries)
        self._presences.receive(frame)

    def put(self, name: str, count: int = 1) -> None:
        self.say(Kind.PUT, "t", entries=[b'["%b",%d,null]' % (name.encode(), count)])


def written(member: Member) -> list[letters.Letter]:
    """Note from now on what a member writes."""
    found: list[letters.Letter] = []
    theirs: Any = member.hub._presences.others  # type: ignore[union-attr]
    forward = theirs._link.forward

    class Link:
        bus = theirs._link.bus

        def forward(self, topic: str, frame: bytes) -> None:
            found.append(read(frame))
            forward(topic, frame)

    theirs._link = Link()
    return found


async def test_a_node_that_is_silent_is_gone() -> None:
    async with sharing(2) as (clock, (one, _)):
        watcher = Watcher(one.hub)
        far = Stranger(one)
        far.put("ann")
        for _ in range(4):
            far.say(Kind.BEAT)
            await clock.advance(BEAT_SECONDS)
        assert last_count(watcher) == 1
        await clock.advance(GONE_SECONDS - BEAT_SECONDS - 0.1)
        assert watcher.told() == []
        await clock.advance(0.2 + SOON)
        assert watcher.told() == [{"count": 0, "leave": ["ann"]}]


def last_count(watcher: Watcher) -> int:
    count: int = watcher.told()[-1]["count"]
    return count


async def test_who_was_asleep_takes_nobody_for_dead() -> None:
    async with sharing(2) as (clock, (one, _)):
        watcher = Watcher(one.hub)
        far = Stranger(one)
        far.put("ann")
        await clock.advance(SOON)
        watcher.told()
        presences: Any = one.hub._presences
        presences.others.on_timer(clock.time() + 100)
        await clock.advance(SOON)
        assert watcher.told() == []
        assert one.hub._board("t").everybody().count == 1


async def test_a_gap_is_asked_for_and_doubles_count_once() -> None:
    async with sharing(2) as (clock, (one, _)):
        Watcher(one.hub)
        await clock.advance(SOON)
        said = written(one)
        far = Stranger(one)
        far.put("ann")
        far.say(Kind.PUT, "t", number=1, entries=[b'["double",1,null]'])
        await clock.advance(SOON)
        assert [letter.topics for letter in said if letter.kind is Kind.ASK] == [("t",)]  # it was new
        far.say(Kind.ALL, "t", 0, 1, entries=[b'["ann",1,null]'])
        said.clear()
        far.number += 1  # is lost
        far.say(Kind.BEAT)
        await clock.advance(SOON)
        assert [(letter.to, letter.topics) for letter in said if letter.kind is Kind.ASK] == [("far", ("t",))]
        far.say(Kind.ALL, "t", 0, 2, entries=[b'["bob",1,null]'])
        assert one.hub._board("t").everybody().count == 1
        far.say(Kind.ALL, "t", 1, 2, entries=[b'["eve",2,null]'])
        assert await ids(one) == ["bob 1", "eve 2"]
        far.say(Kind.ALL, "t", 1, 2, entries=[b'["late",1,null]'])
        assert await ids(one) == ["bob 1", "eve 2"]


async def test_what_is_not_answered_is_asked_again() -> None:
    async with sharing(2) as (clock, (one, _)):
        Watcher(one.hub)
        far = Stranger(one)
        far.say(Kind.HELLO)
        said = written(one)
        waiting = asyncio.create_task(one.hub.presence("t", timeout=3))
        await clock.advance(4)
        with pytest.raises(TimeoutError, match="no answer within 3 s of 1 of the hubs"):
            await waiting
        await clock.advance(BEAT_SECONDS)
        kinds = [letter.kind for letter in said]
        assert kinds.count(Kind.ASK) == 2
        assert Kind.BEAT in kinds
        waiting = asyncio.create_task(one.hub.presence("t"))
        await clock.advance(0)
        far.say(Kind.BYE)
        await clock.advance(0)
        assert waiting.result().count == 0


async def test_what_is_no_letter(caplog: pytest.LogCaptureFixture) -> None:
    async with sharing(2) as (_, (one, _two)):
        presences: Any = one.hub._presences
        for text in (
            "{}",
            "[]",
            '["put",1,1]',
            '["put","a",1]',
            '["put","a",1,"t",[[1,1,1]]]',
            '["new","a",1]',
        ):
            presences.receive(letters.encode(letters.TEXT, text.encode()))
        assert caplog.text.count("no letter about who is here") == 6
        assert not presences.others._owners.get("a")


# -- over lines that fail ---------------------------------------------------------------------------


async def test_a_broker_that_stops_and_loses() -> None:
    with Clock() as clock:
        hubs = [fastws.Hub() for _ in range(3)]
        for hub in hubs:
            hub.topic("t", presence="list")
        opening = asyncio.create_task(opened(memory_broker(*hubs)))
        while not opening.done():
            await clock.advance(0.01)
        broker = opening.result()
        one, two, three = [of(hub) for hub in hubs]
        watcher = Watcher(one.hub)
        join(two, "ann")
        await clock.advance(SOON)
        assert last_count(watcher) == 1
        broker.stop()
        join(two, "bob")
        await clock.advance(4 * BEAT_SECONDS)
        assert watcher.told() == []  # the process lives: nobody knows better
        broker.start()
        await clock.advance(SOON)
        assert last_count(watcher) == 2
        broker.lose(1)
        join(three, "eve")
        await clock.advance(SOON)
        await clock.advance(BEAT_SECONDS + SOON)
        assert await ids(one) == await ids(two) == ["ann 1", "bob 1", "eve 1"]
        broker.forget()
        await clock.advance(SOON)
        assert await ids(three) == ["ann 1", "bob 1", "eve 1"]
        closing = asyncio.create_task(broker.close())
        while not closing.done():
            await clock.advance(0.01)
        await clock.advance(SOON)
        assert await ids(one) == []


def of(hub: fastws.Hub) -> Member:
    member = Member(None)
    member.hub = hub
    return member


async def opened(broker: MemoryBroker) -> MemoryBroker:
    return await broker.__aenter__()


def test_a_bus_at_a_path_that_outlives_its_loop(tmp_path: Path) -> None:
    hub = fastws.Hub(broker=f"bus:{tmp_path / 'bus'}")
    hub.topic("t", presence="list")
    member = of(hub)

    async def use() -> list[str]:
        before = await ids(member)
        client = join(member, "ann")
        found = await ids(member)
        client.outbox.leave_topics()
        return [*before, *found]

    assert asyncio.run(use()) == ["ann 1"]
    assert asyncio.run(use()) == ["ann 1"]  # the first one has left with its loop
    asyncio.run(hub.close())


def test_a_bus_of_its_own_for_each_loop() -> None:
    hub = fastws.Hub(broker="memory")
    hub.topic("t", presence="list")

    async def use() -> list[str]:
        bus = Bus(1)
        hub.share_over(bus)
        await bus.start()
        member = of(hub)
        client = join(member, "ann")
        await asyncio.sleep(0)
        found = await ids(member)
        client.outbox.leave_topics()
        await bus.close()
        hub.share_over(None)
        return found

    assert asyncio.run(use()) == asyncio.run(use()) == ["ann 1"]
