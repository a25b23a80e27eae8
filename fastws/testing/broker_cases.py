"""The cases of :func:`fastws.testing.broker_conformance`, on hubs and clients that are real."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import TopicKind
from fastws.pubsub.events import Message
from fastws.pubsub.hub import Hub
from fastws.testing.conformance import BrokerSite, Case, Heard
from fastws.testing.watch import until

__all__ = ["CASES"]

CASES: list[Case] = []
Run = Callable[[BrokerSite], Awaitable[None]]
#: A broker on another machine needs longer than a turn of the loop.
SECONDS = 10.0


def case(kind: TopicKind, *needs: str) -> Callable[[Run], Run]:
    """Add a function to the cases."""

    def add(run: Run) -> Run:
        name = run.__name__.strip("_").replace("_", " ")
        CASES.append(Case(f"{kind}: {name}", kind, run, needs))
        return run

    return add


async def got(heard: Heard, *messages: str | bytes) -> None:
    """Wait until a client has heard as many messages as these; then they are the same."""
    await until(lambda: len(heard.messages) >= len(messages), f"{len(messages)} messages", timeout=SECONDS)
    assert heard.messages == list(messages)
    assert heard.gaps == []


async def has(heard: Heard, count: int) -> None:
    """Wait until a client has heard so many messages."""
    await until(lambda: len(heard.messages) >= count, f"{count} messages", timeout=SECONDS)


def of(sender: str, heard: Heard) -> list[Any]:
    """Return what a client has heard of one sender."""
    return [text for text in heard.messages if isinstance(text, str) and text.startswith(sender)]


# -- plain topics -------------------------------------------------------------------------------


@case(TopicKind.PLAIN)
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


@case(TopicKind.PLAIN)
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


@case(TopicKind.PLAIN)
async def _the_sender_alone_is_left_out(site: BrokerSite) -> None:
    await site.join()
    sender, other = await site.listen(site.hubs[0], "t"), await site.listen(site.hubs[-1], "t")
    site.hubs[0].publish("t", "1", exclude=sender.ws)
    site.hubs[0].publish("t", "2")
    await got(other, "1", "2")
    await got(sender, "2")


@case(TopicKind.PLAIN)
async def _any_name_is_a_topic(site: BrokerSite) -> None:
    await site.join()
    names = ["a b", "ä/€", "*", ">", "a.b", "%41", "A", "{x}", "x" * 250, "/", "$SYS.x", "tab\t"]
    heard = await site.listen(site.hubs[-1], *names)
    for name in names:
        site.hubs[0].publish(name, name)
    await got(heard, *names)


@case(TopicKind.PLAIN)
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


@case(TopicKind.PLAIN, "can_stop")
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


# -- topics with a history ----------------------------------------------------------------------


def keep(site: BrokerSite, pattern: str = "h", **settings: Any) -> None:
    """Declare a topic with a history at every node."""
    for hub in dict.fromkeys(site.hubs):
        hub.topic(pattern, **({"history": 100} | settings))


@case(TopicKind.HISTORY)
async def _all_have_the_same_order_and_the_same_positions(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    clients = [await site.listen(hub, "h") for hub in site.hubs]
    for number in range(50):
        for name, hub in enumerate(site.hubs):
            hub.publish("h", f"{name}:{number}")
        await asyncio.sleep(0)
    count = 50 * len(site.hubs)
    for heard in clients:
        await has(heard, count)
        assert heard.messages == clients[0].messages
        assert sorted(of("0:", heard)) == sorted(f"0:{number}" for number in range(50))
        assert of("0:", heard) == [f"0:{number}" for number in range(50)]
        assert heard.gaps == []
    positions = [await hub.position("h") for hub in site.hubs]
    assert len(set(positions)) == 1
    histories = [await hub.history("h", 100) for hub in site.hubs]
    assert all(history == histories[0] for history in histories)
    assert [each.at for each in histories[0]] == [positions[0].after(n - 99) for n in range(100)]


@case(TopicKind.HISTORY)
async def _what_a_message_is_stays_with_it(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    messages: list[str | bytes] = ["text", b"\0\xff", "", "ü" * 3000]
    for message in messages:
        await first.publish_confirmed("h", message)
    await first.publish_confirmed("h", json={"n": [1, None]})
    kept = [each.message for each in await last.history("h")]
    assert kept == [*messages, '{"n":[1,null]}']


@case(TopicKind.HISTORY)
async def _who_joins_has_the_last_and_who_returns_the_rest_at_any_node(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    first, last = site.hubs[0], site.hubs[-1]
    at = [(await first.publish_confirmed("h", str(number))).at for number in range(10)]
    joined = await site.listen(last, "h", recent=3)
    await got(joined, "7", "8", "9")
    returned = await site.listen(last, "h", since=at[4])
    await got(returned, "5", "6", "7", "8", "9")
    assert returned.syncs[0].resumed is True
    last.publish("h", "10")
    await got(returned, *map(str, range(5, 11)))
    await got(joined, *map(str, range(7, 11)))
    fresh = await site.listen(first, "h")
    first.publish("h", "11")
    await got(fresh, "11")


@case(TopicKind.HISTORY)
async def _what_is_not_kept_any_more_is_told(site: BrokerSite) -> None:
    keep(site, history=5)
    await site.join()
    at = [(await site.hubs[0].publish_confirmed("h", str(number))).at for number in range(300)]
    late = await site.listen(site.hubs[-1], "h", since=at[289])
    await got(late, *map(str, range(295, 300)))
    assert late.syncs[0].resumed is False
    assert late.syncs[0].missed == 5
    assert late.syncs[0].reason == "limit"


@case(TopicKind.HISTORY)
async def _an_id_is_published_once_at_all_nodes(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    heard = await site.listen(site.hubs[-1], "h")
    done = await asyncio.gather(
        *[hub.publish_confirmed("h", "once", once="id/1 ü") for hub in site.hubs for _ in range(3)]
    )
    again = await site.hubs[-1].publish_confirmed("h", "other", once="id/1 ü")
    assert again.duplicate
    assert len({each.at for each in [*done, again]}) == 1
    assert [each.duplicate for each in done].count(False) == 1
    await site.hubs[0].publish_confirmed("h", "end")
    await got(heard, "once", "end")


@case(TopicKind.HISTORY)
async def _a_publish_behind_a_subscribe_is_heard(site: BrokerSite) -> None:
    keep(site, "h/*")
    await site.join()
    hub = site.hubs[0]
    heard = await site.listen(hub)
    for number in range(20):
        await hub.publish_confirmed(f"h/{number}", "before")
        hub.subscribe(heard.ws, f"h/{number}")
        hub.publish(f"h/{number}", str(number))
    await until(lambda: len(heard.messages) >= 20, timeout=SECONDS)
    assert sorted(heard.messages, key=str) == sorted(map(str, range(20)))


@case(TopicKind.HISTORY, "can_stop")
async def _an_outage_loses_nothing_and_doubles_nothing(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    clients = [await site.listen(hub, "h") for hub in site.hubs]
    for hub in site.hubs:
        await hub.publish_confirmed("h", "ready")
    await until(lambda: all(len(heard.messages) == len(site.hubs) for heard in clients), timeout=SECONDS)
    await site.stop()
    for number in range(20):
        for name, hub in enumerate(site.hubs):
            hub.publish("h", f"{name}:{number}")
        await asyncio.sleep(0)
    count = 21 * len(site.hubs)
    try:
        await site.hubs[0].publish_confirmed("h", "unsure", timeout=0.3)
    except BrokerUnavailable:
        pass
    except TimeoutError:
        count += 1  # "it may be published": here it is, when the broker is back
    else:
        raise AssertionError("nobody has numbered it")
    await site.start()
    for heard in clients:
        await has(heard, count)
        for name in range(len(site.hubs)):
            assert of(f"{name}:", heard) == [f"{name}:{number}" for number in range(20)]
    await site.hubs[0].publish_confirmed("h", "end")
    for heard in clients:
        await has(heard, count + 1)
        assert heard.messages[-1] == "end"
        assert heard.messages == clients[0].messages
        assert heard.gaps == []


@case(TopicKind.HISTORY, "can_lose")
async def _lost_data_is_a_new_epoch_that_is_told(site: BrokerSite) -> None:
    keep(site)
    await site.join()
    heard = await site.listen(site.hubs[-1], "h")
    before = [(await site.hubs[0].publish_confirmed("h", str(number))).at for number in range(5)]
    await got(heard, *map(str, range(5)))
    await site.lose()
    for number in range(5, 10):
        after = (await site.hubs[0].publish_confirmed("h", str(number))).at
    assert after.epoch != before[-1].epoch
    await until(lambda: "9" in heard.messages, timeout=SECONDS)
    assert heard.messages == [str(number) for number in range(10)]
    assert heard.syncs[-1].reason == "epoch"
    late = await site.listen(site.hubs[0], "h", since=before[2])
    assert late.syncs[0].resumed is False
    assert late.syncs[0].reason == "epoch"


@case(TopicKind.HISTORY, "can_differ")
async def _other_settings_are_refused_with_both_named(site: BrokerSite) -> None:
    site.hubs[0].topic("h", history=100)
    site.hubs[-1].topic("h", history=50)
    await site.join()
    await site.hubs[0].publish_confirmed("h", "1")
    try:
        await site.hubs[-1].publish_confirmed("h", "2", timeout=2.0)
    except BrokerUnavailable as error:
        assert "history=100" in str(error), error
    else:
        raise AssertionError("its settings are others")
    assert [each.message for each in await site.hubs[0].history("h")] == ["1"]


# -- keyed topics -------------------------------------------------------------------------------


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


@case(TopicKind.KEYED)
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


@case(TopicKind.KEYED)
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


@case(TopicKind.KEYED)
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


@case(TopicKind.KEYED)
async def _a_value_that_is_too_old_goes(site: BrokerSite) -> None:
    keyed(site, key_ttl=0.4)
    await site.join()
    await site.hubs[0].publish_confirmed("k", "1", key="a")
    for hub in site.hubs:
        await holds(hub, {"a": "1"})
    for hub in site.hubs:
        await holds(hub, {})


@case(TopicKind.KEYED, "can_stop")
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


@case(TopicKind.KEYED, "can_lose")
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
