"""Feeds of several processes that share a hub: authors, JSON and gaps travel."""

from __future__ import annotations

import json
from typing import Any

import fastws
from fastws.pubsub.notes import note_of
from tests.kit.buses import Listener, Member, members, until


def feed_listener(member: Member, topic: str) -> Listener:
    one = Listener()
    assert member.hub._subscribe_view(one, topic, None, 0) is not None
    return one


async def heard(listener: Listener, count: int) -> list[Any]:
    found: list[Any] = []

    def has_come() -> bool:
        found.extend(map(json.loads, listener.take()))
        return len(found) >= count

    await until(has_come)
    return found


async def test_what_is_published_elsewhere() -> None:
    async with members(2) as (one, two):
        there, plain = feed_listener(two, "t"), two.listener("t")
        here = feed_listener(one, "t")
        for member in (one, two):
            await until(lambda member=member: member.bus.outgoing.has_peers)  # type: ignore[misc]
        one.hub.publish("t", "text")
        one.hub.publish("t", json={"n": 1})
        one.hub.publish("t", b"\0")
        await one.hub._publish_noted("t", '{"n": 18446744073709551616}', None, note_of("ann"), None)
        await one.hub._publish_noted("t", b"\1", None, note_of("ann"), None)
        expected = [
            {"t": "t", "d": "text"},
            {"t": "t", "d": {"n": 1}},
            {"t": "t", "b": "AA=="},
            {"t": "t", "u": "ann", "d": {"n": 2**64}},
            {"t": "t", "u": "ann", "b": "AQ=="},
        ]
        assert await heard(here, 5) == expected
        assert await heard(there, 5) == expected
        frames: list[Any] = []
        await until(lambda: frames.extend(plain.frames()) or len(frames) == 5)
        assert [frame.payload for frame in frames] == [
            b"text", b'{"n":1}', b"\0", b'{"n": 18446744073709551616}', b"\1"
        ]  # fmt: skip
        assert await one.hub.total("t") == 3


async def test_a_gap_of_the_bus_is_told_before_what_follows() -> None:
    async with members(2) as (one, two):
        there = feed_listener(two, "t")
        await until(lambda: one.bus is not None and one.bus.outgoing.has_peers)
        one.hub.publish("t", "1")
        assert await heard(there, 1) == [{"t": "t", "d": "1"}]
        two.hub._receive_gap("t", 7, "bus")
        one.hub.publish("t", "2")
        assert await heard(there, 2) == [
            {"t": "t", "gap": {"missed": 7, "reason": "bus"}},
            {"t": "t", "d": "2"},
        ]


async def test_a_gap_of_the_bus_is_told_to_who_is_behind() -> None:
    hub = fastws.Hub()
    hub.topic("t", history=5)
    member = Member(None)
    member.hub = hub
    late = feed_listener(member, "t")
    late.stall()
    hub.publish("t", "1")
    subscriptions: Any = late.outbox.subscriptions
    await until(lambda: subscriptions.cursors is not None)
    hub._receive_gap("t", 7, "bus")
    late.transport.take()
    await until(lambda: subscriptions.cursors is None)
    gap = {"t": "t", "gap": {"missed": 7, "reason": "bus"}}
    said = [frame.payload for frame in late.frames()]
    assert gap in [json.loads(each) for each in said if each.startswith(b"{")]


async def test_who_leaves_last_takes_the_topic_along() -> None:
    hub = fastws.Hub()
    member = Member(None)
    one, two = feed_listener(member, "t"), member.listener("t")
    assert member.hub.count("t") == 2
    assert list(member.hub.topics(one)) == ["t"]
    one.outbox.leave_topics()
    assert member.hub.count("t") == 1
    assert member.hub.publish("t", "x") == 1
    member.hub.unsubscribe(two, "t")
    assert member.hub.count("t") == hub.count("t") == 0
