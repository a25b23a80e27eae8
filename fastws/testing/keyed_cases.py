"""Cases of a broker: keyed topics."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.pubsub.brokers.base import TopicKind
from fastws.pubsub.events import Message
from fastws.pubsub.hub import Hub
from fastws.testing.broker_checks import SECONDS, case_into
from fastws.testing.conformance import BrokerSite, Case

__all__ = ["CASES"]

CASES: list[Case] = []
case = case_into(CASES, TopicKind.KEYED)


def keyed(site: BrokerSite, **settings: Any) -> None:
    """Declare a keyed topic at every node."""
    for hub in dict.fromkeys(site.hubs):
        hub.topic("k", mode="keyed", **settings)


async def holds(hub: Hub, values: dict[str, str]) -> None:
    """Wait until a hub has these values."""
    for _ in range(int(SECONDS / 0.02)):
        if await hub.snapshot("k") == values:
            return
        await asyncio.sleep(0.02)
    assert await hub.snapshot("k") == values


@case()
async def _all_hold_the_same_values(site: BrokerSite) -> None:
    keyed(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    for number in range(20):
        first.publish("k", json=number, key=f"key {number % 5}/ü")
    await last.publish_confirmed("k", '{"a": 1}', key="other")
    first.publish("k", json=None, key="none")
    values = {f"key {number}/ü": str(number + 15) for number in range(5)} | {
        "other": '{"a": 1}',
        "none": "null",
    }
    for hub in site.hubs:
        await holds(hub, values)
    first.remove("k", "other")
    del values["other"]
    for hub in site.hubs:
        await holds(hub, values)
    last.clear("k")
    for hub in site.hubs:
        await holds(hub, {})
    first.publish("k", "1", key="again")
    for hub in site.hubs:
        await holds(hub, {"again": "1"})


@case()
async def _who_returns_is_told_what_has_changed(site: BrokerSite) -> None:
    keyed(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    for key in "abc":
        at = (await first.publish_confirmed("k", "1", key=key)).at
    await first.publish_confirmed("k", "2", key="b")
    first.remove("k", "c")
    await holds(last, {"a": "1", "b": "2"})
    async with last.follow("k", since=at) as follower:
        events = [await anext(follower) for _ in range(3)]
    synced, *changes = events
    assert synced.resumed is True, synced  # type: ignore[union-attr]
    assert [(getattr(each, "key", None), isinstance(each, Message)) for each in changes] == [
        ("b", True),
        ("c", False),
    ]


@case()
async def _one_key_too_many_is_refused(site: BrokerSite) -> None:
    keyed(site, max_keys=2)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    await first.publish_confirmed("k", "1", key="a")
    await last.publish_confirmed("k", "1", key="b")
    for hub in site.hubs:
        try:
            await hub.publish_confirmed("k", "1", key="c")
        except ValueError as error:
            assert "max_keys" in str(error)
        else:
            raise AssertionError("it has two keys")
    await first.publish_confirmed("k", "2", key="a")
    for hub in site.hubs:
        await holds(hub, {"b": "1", "a": "2"})


@case()
async def _a_value_that_is_too_old_goes(site: BrokerSite) -> None:
    keyed(site, key_ttl=0.4)
    await site.join()
    await site.hubs[0].publish_confirmed("k", "1", key="a")
    for hub in site.hubs:
        await holds(hub, {"a": "1"})
    for hub in site.hubs:
        await holds(hub, {})


@case("can_stop")
async def _the_last_value_survives_an_outage(site: BrokerSite) -> None:
    keyed(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    await first.publish_confirmed("k", "0", key="a")
    await holds(last, {"a": "0"})
    await site.stop()
    for number in range(1, 11):
        first.publish("k", str(number), key="a")
        await asyncio.sleep(0)
    await site.start()
    for hub in site.hubs:
        await holds(hub, {"a": "10"})


@case("can_lose")
async def _lost_values_are_not_shown_as_if_they_were_there(site: BrokerSite) -> None:
    keyed(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    before = (await first.publish_confirmed("k", "1", key="a")).at
    await holds(last, {"a": "1"})
    await site.lose()
    after = (await first.publish_confirmed("k", "2", key="b")).at
    assert after.epoch != before.epoch
    for hub in site.hubs:
        await holds(hub, {"b": "2"})
