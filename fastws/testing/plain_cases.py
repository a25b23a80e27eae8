"""Cases of a broker: plain topics."""

from __future__ import annotations

import asyncio

from fastws.pubsub.brokers.base import TopicKind
from fastws.testing.broker_checks import SECONDS, case_into, got, has, of
from fastws.testing.conformance import BrokerSite, Case
from fastws.testing.watch import until

__all__ = ["CASES"]

CASES: list[Case] = []
case = case_into(CASES, TopicKind.PLAIN)


@case()
async def _all_hear_what_each_publishes(site: BrokerSite) -> None:
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    one, two = await site.listen(first, "t"), await site.listen(last, "t")
    first.publish("t", "text")
    first.publish("t", b"\0binary\xff")
    first.publish("t", json={"a": "ü"})
    first.publish("t", "")
    first.publish("t", "x" * 70_000)
    for heard in (one, two):
        await got(heard, "text", b"\0binary\xff", '{"a":"ü"}', "", "x" * 70_000)
    last.publish("t", "back")
    for heard in (one, two):
        await has(heard, 6)
        assert heard.messages[-1] == "back"


@case()
async def _each_sender_s_order_is_kept_and_nothing_comes_twice(site: BrokerSite) -> None:
    await site.join()
    clients = [await site.listen(hub, "t") for hub in site.hubs]
    for number in range(200):
        for name, hub in enumerate(site.hubs):
            hub.publish("t", f"{name}:{number}")
        if number % 10 == 0:
            await asyncio.sleep(0)
    for heard in clients:
        await has(heard, 200 * len(site.hubs))
        for name in range(len(site.hubs)):
            assert of(f"{name}:", heard) == [f"{name}:{number}" for number in range(200)]
        assert len(heard.messages) == 200 * len(site.hubs)
        assert heard.gaps == []


@case()
async def _the_sender_alone_is_left_out(site: BrokerSite) -> None:
    await site.join()
    sender, other = await site.listen(site.hubs[0], "t"), await site.listen(site.hubs[-1], "t")
    site.hubs[0].publish("t", "1", exclude=sender.ws)
    site.hubs[0].publish("t", "2")
    await got(other, "1", "2")
    await got(sender, "2")


@case()
async def _any_name_is_a_topic(site: BrokerSite) -> None:
    await site.join()
    names = ["a b", "ä/€", "*", ">", "a.b", "%41", "A", "{x}", "x" * 250, "/", "$SYS.x", "tab\t"]
    heard = await site.listen(site.hubs[-1], *names)
    for name in names:
        site.hubs[0].publish(name, name)
    await has(heard, len(names))
    assert sorted(heard.messages, key=str) == sorted(names)  # a cluster has no order over topics


@case()
async def _who_has_left_hears_nothing_and_who_returns_does(site: BrokerSite) -> None:
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    heard = await site.listen(last, "t", "u")
    first.publish("t", "1")
    await got(heard, "1")
    last.unsubscribe(heard.ws, "t")
    first.publish("t", "2")
    first.publish("u", "3")
    await got(heard, "1", "3")
    last.subscribe(heard.ws, "t")
    await site.settle("t")
    first.publish("t", "4")
    await got(heard, "1", "3", "4")


@case("can_stop")
async def _an_outage_costs_what_is_told_and_nobody_here(site: BrokerSite) -> None:
    await site.join()
    here, there = await site.listen(site.hubs[0], "t"), await site.listen(site.hubs[-1], "t")
    publish = site.hubs[0].publish
    publish("t", "0")
    await got(there, "0")
    await site.stop()
    for number in range(1, 101):
        publish("t", str(number))
        await asyncio.sleep(0)
    await until(lambda: len(here.messages) == 101, "what was published here is here at once")
    await site.start()
    await until(lambda: len(there.messages) + there.missed >= 101, timeout=SECONDS)
    publish("t", "101")
    await until(lambda: "101" in there.messages, timeout=SECONDS)
    assert len(there.messages) + there.missed == 102
    assert there.messages == sorted(set(there.messages), key=lambda text: int(text))
    if site.can_queue:
        assert all(reason == "broker" for _, _, reason in there.gaps)
    assert here.messages == [str(number) for number in range(102)]
    assert here.gaps == []
