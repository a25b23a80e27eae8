"""Users that an application sends away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastws
from fastws.pubsub.bus.following import LINGER_TICKS
from fastws.pubsub.kicks import KICKS
from fastws.testing import ManualLoop
from tests.feed.clients import Client
from tests.kit.buses import members, until


def by_token(request: object, token: str | None) -> fastws.User | None:
    return None if token is None else fastws.User(token)


def feed_of(hub: fastws.Hub) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, authenticate=by_token)


def client_of(loop: ManualLoop, feed: Any, user: str) -> Client:
    client = Client(loop, feed, "?topic=a&topic=b")
    client.say(f'{{"auth":"{user}"}}')
    return client


def kick(loop: ManualLoop, hub: fastws.Hub, *args: Any, **options: Any) -> None:
    with pytest.raises(StopIteration):
        hub.kick(*args, **options).send(None)
    loop.settle()


def test_all_clients_of_the_user_and_nobody_else(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    ann = client_of(loop, feed_of(hub), "ann")
    other, bob = client_of(loop, ann.server, "ann"), client_of(loop, feed_of(hub), "bob")
    kick(loop, hub, "ann", reason="rude" * 50)
    assert ann.said() == other.said() == [4403]
    assert bob.said() == []
    kick(loop, hub, "nobody")
    kick(loop, hub, "ann")
    assert hub.count("a") == 1


def test_a_topic(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    ann = client_of(loop, feed_of(hub), "ann")
    kick(loop, hub, "ann", topic="b")
    kick(loop, hub, "ann", topic="unknown")
    assert ann.said() == [{"t": "b", "end": "revoked"}]
    assert (hub.count("a"), hub.count("b")) == (1, 0)


def test_who_has_left_is_forgotten(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    ann = client_of(loop, feed_of(hub), "ann")
    assert hub._known
    ann.raw.close()
    loop.settle()
    assert not hub._known


@pytest.mark.parametrize("args", [{"user": 7}, {"user": "a", "topic": 7}, {"user": "a", "reason": b"x"}])
def test_what_is_no_text(args: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="is text, not"):
        asyncio.run(fastws.Hub().kick(**args))


async def test_the_clients_of_other_processes() -> None:
    kicked: list[Any] = []

    class Known:
        def kick(self, topic: str | None, reason: str) -> None:
            kicked.append((topic, reason))

    async with members(2) as (one, two):
        two.hub._know("ann", Known())
        assert KICKS in two.hub._topics_heard()
        await until(lambda: one.bus is not None and one.bus.outgoing.has_peers)
        await one.hub.kick("bob")
        await one.hub.kick("ann", topic="a")
        await one.hub.kick("ann", reason="rude")
        await until(lambda: len(kicked) == 2)
        assert kicked == [("a", ""), (None, "rude")]


async def test_with_many_processes_it_is_heard_as_long_as_somebody_is_known() -> None:
    class Known:
        def kick(self, topic: str | None, reason: str) -> None:
            kicked.append(reason)

    kicked: list[str] = []
    client = Known()
    async with members(3, bus_options={"flooded_peers": 1}) as found:
        one, two = found[0], found[1]
        two.hub._know("ann", client)
        followed: Any = two.bus._following._followed
        assert len(followed) == 1
        for _ in range(LINGER_TICKS):
            two.bus._following.tick()
        assert len(followed) == 1
        await until(lambda: any(peer.follows for peer in one.bus.peers))
        await one.hub.kick("ann", reason="rude")
        await until(lambda: kicked == ["rude"])
        two.hub._forget("ann", client)
        for _ in range(LINGER_TICKS):
            two.bus._following.tick()
        assert not followed
