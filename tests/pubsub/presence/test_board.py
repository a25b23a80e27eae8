"""Who is seen by ``hub.subscribe(present=...)``, and who is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastws
from fastws.pubsub.presence.news import LIST_AGAIN, MOST_LISTED, News
from fastws.pubsub.presence.shown import MAX_INFO_BYTES
from fastws.testing import Clock
from tests.kit.buses import Listener
from tests.pubsub.presence.watchers import Watcher


def hub_with(presence: str = "list", **options: Any) -> fastws.Hub:
    hub = fastws.Hub()
    hub.topic("t", presence=presence, **options)
    return hub


async def test_who_is_seen() -> None:
    with Clock() as clock:
        hub = hub_with()
        watcher = Watcher(hub)
        await clock.advance(1)
        ann, bob = Listener(), Listener()
        hub.subscribe(ann, "t", present="ann")
        hub.subscribe(bob, "t", present=fastws.Member("bob", info={"x": 1}))
        await clock.advance(1)
        members = (fastws.Member("ann"), fastws.Member("bob", 1, {"x": 1}))
        assert await hub.presence("t") == fastws.Presence("t", 2, members)
        hub.subscribe(ann, "t", present="ann")
        hub.subscribe(bob, "t", present=fastws.Member("bob", info={"x": 2}))
        await clock.advance(1)
        hub.subscribe(bob, "t", present="bert")
        await clock.advance(1)
        assert list(hub.topics(ann)) == ["t"]
        ann.outbox.leave_topics()
        hub.unsubscribe(bob, "t")
        await clock.advance(6)
        bob_again = {"id": "bob", "n": 1, "info": {"x": 2}}
        bert = {"id": "bert", "n": 1, "info": None}
        assert watcher.told() == [
            {"count": 0, "list": []},
            {
                "count": 2,
                "join": [{"id": "ann", "n": 1, "info": None}, {"id": "bob", "n": 1, "info": {"x": 1}}],
            },
            {"count": 2, "join": [bob_again]},
            {"count": 3, "join": [bert]},
            {"count": 2, "leave": ["bob"]},
            {"count": 0, "leave": ["ann", "bert"]},
        ]
        assert await hub.presence("t") == fastws.Presence("t", 0, ())
        assert ann.take() == bob.take() == []


async def test_a_long_list_becomes_a_number_and_a_list_again() -> None:
    with Clock() as clock:
        hub = hub_with()
        watcher = Watcher(hub)
        await clock.advance(1)
        clients = [Listener() for _ in range(MOST_LISTED + 1)]
        for number, client in enumerate(clients):
            hub.subscribe(client, "t", present=str(number))
            if number in (MOST_LISTED - 1, MOST_LISTED):
                await clock.advance(1)
        empty, full, number_alone = watcher.told()
        assert (empty["list"], len(full["join"]), number_alone) == ([], 200, {"count": 201})
        assert len((await hub.presence("t")).members or ()) == 201
        for client in clients[LIST_AGAIN + 1 :]:
            hub.unsubscribe(client, "t")
        await clock.advance(6)
        assert watcher.told() == [{"count": LIST_AGAIN + 1}]
        hub.unsubscribe(clients[0], "t")
        await clock.advance(6)
        (again,) = watcher.told()
        assert [each["id"] for each in again["list"]] == [str(number) for number in range(1, LIST_AGAIN + 1)]


async def test_nothing_is_queued_for_who_takes_nothing() -> None:
    with Clock() as clock:
        hub = hub_with()
        slow, quick = Watcher(hub), Watcher(hub)
        await clock.advance(1)
        assert slow.told() == quick.told() == [{"count": 0, "list": []}]
        slow.stall()
        for number in range(8):
            hub.subscribe(Listener(), "t", present=str(number))
            await clock.advance(0.6)
        assert len(quick.told()) == 8
        assert slow.outbox.queued <= 1
        slow.transport.take()
        await clock.advance(1)
        *_, last = slow.told()
        assert [each["id"] for each in last["list"]] == [str(number) for number in range(8)]
        hub.subscribe(Listener(), "t", present="on")
        await clock.advance(1)
        assert slow.told() == quick.told() == [{"count": 9, "join": [{"id": "on", "n": 1, "info": None}]}]


async def test_all_get_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Clock() as clock:
        hub = hub_with()
        watchers = [Watcher(hub) for _ in range(3)]
        await clock.advance(1)
        made: list[bytes] = []
        frame = News._frame

        def noted(news: News, rest: bytes) -> bytes:
            made.append(rest)
            return frame(news, rest)

        monkeypatch.setattr(News, "_frame", noted)
        hub.subscribe(Listener(), "t", present="ann")
        await clock.advance(1)
        assert len(made) == 1
        watchers += [Watcher(hub), Watcher(hub)]
        await clock.advance(1)
        assert len(made) == 2
        assert watchers[3].told() == watchers[4].told()
        assert [watcher.told()[-1]["count"] for watcher in watchers[:3]] == [1, 1, 1]


async def test_what_cannot_be_shown() -> None:
    hub = hub_with()
    client = Listener()
    hub.unsubscribe(client, "t")
    for present in ("", "x" * 126, fastws.Member("a", info="x" * MAX_INFO_BYTES)):
        with pytest.raises(ValueError, match="bytes"):
            hub.subscribe(client, "t", present=present)
    for wrong in (7, fastws.Member(7), fastws.Member("a", info=object())):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"present=|info"):
            hub.subscribe(client, "t", present=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shows nobody"):
        hub.subscribe(client, "other", present="ann")
    assert hub.count("t") == hub.count("other") == 0
    with pytest.raises(ValueError, match="info has at most 1024 bytes"):
        fastws.Grant(info="x" * MAX_INFO_BYTES)
    with pytest.raises(TypeError, match="info is a value of JSON"):
        fastws.User("ann", info=object())


async def test_a_topic_that_is_made_again_shows_who_has_not_left_yet() -> None:
    with Clock() as clock:
        hub = fastws.Hub()
        hub.topic("rooms/*", presence="count")
        ann = Listener()
        hub.subscribe(ann, "rooms/1", present="ann")
        hub.unsubscribe(ann, "rooms/1")
        watcher = Watcher(hub, "rooms/1")
        await clock.advance(1)
        assert watcher.told() == [{"count": 1}]
        await clock.advance(5)
        assert watcher.told() == [{"count": 0}]
        watcher.outbox.leave_topics()
        assert (await hub.presence("rooms/1")).count == 0


def test_on_another_loop_those_of_the_first_have_left() -> None:
    hub = hub_with()

    async def use(name: str) -> int:
        client = Listener()
        hub.subscribe(client, "t", present=name)
        count = (await hub.presence("t")).count
        client.outbox.leave_topics()
        return count

    assert asyncio.run(use("ann")) == 1
    assert asyncio.run(use("bob")) == 1


async def test_it_is_compressed_once_for_all() -> None:
    with Clock() as clock:
        hub = hub_with()
        watchers = [Watcher(hub) for _ in range(3)]
        for watcher in watchers:
            watcher.outbox.frame_variant = 15
        for number in range(100):
            hub.subscribe(Listener(), "t", present=f"member {number}")
        await clock.advance(1)
        sent = {watcher.outbox.sent_bytes for watcher in watchers}
        assert sent.pop() < 100 * len('{"id":"member 1","n":1,"info":null}') / 4
        assert not sent
        meter = hub._board("t").told.meter
        assert meter is not None and meter.use().compressed == 1
