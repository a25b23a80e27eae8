"""Cases of a broker: topics with a history."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import TopicKind
from fastws.testing.broker_checks import SECONDS, case_into, got, has, of
from fastws.testing.conformance import BrokerSite, Case
from fastws.testing.watch import until

__all__ = ["CASES"]

CASES: list[Case] = []
case = case_into(CASES, TopicKind.HISTORY)


def keep(site: BrokerSite, pattern: str = "h", **settings: Any) -> None:
    """Declare a topic with a history at every node."""
    for hub in dict.fromkeys(site.hubs):
        hub.topic(pattern, **({"history": 100} | settings))


@case()
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


@case()
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


@case()
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


@case()
async def _what_is_not_kept_any_more_is_told(site: BrokerSite) -> None:
    keep(site, history=5)
    await site.join()
    at = [(await site.hubs[0].publish_confirmed("h", str(number))).at for number in range(300)]
    late = await site.listen(site.hubs[-1], "h", since=at[289])
    await got(late, *map(str, range(295, 300)))
    assert late.syncs[0].resumed is False
    assert late.syncs[0].missed == 5
    assert late.syncs[0].reason == "limit"


@case()
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


@case()
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


@case("can_stop")
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


@case("can_stop")
async def _more_may_wait_than_is_kept(site: BrokerSite) -> None:
    keep(site, history=10)
    await site.join()
    clients = [await site.listen(hub, "h") for hub in site.hubs]
    await site.hubs[0].publish_confirmed("h", "ready")
    await until(lambda: all(heard.messages == ["ready"] for heard in clients), timeout=SECONDS)
    await site.stop()
    for number in range(60):
        site.hubs[0].publish("h", str(number))
        await asyncio.sleep(0)
    await site.start()
    for heard in clients:
        await got(heard, "ready", *map(str, range(60)))
        assert heard.gaps == []


@case("can_lose")
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


@case("can_differ")
async def _other_settings_are_refused_with_both_named(site: BrokerSite) -> None:
    site.hubs[0].topic("h", history=100)
    site.hubs[-1].topic("h", history=50)
    await site.join()
    await site.hubs[0].publish_confirmed("h", "1")
    try:
        await site.hubs[-1].publish_confirmed("h", "2", timeout=2.0)
    except BrokerUnavailable as error:
        assert "history=100" in str(error) and "history=50" in str(error), error
    else:
        raise AssertionError("its settings are others")
    assert [each.message for each in await site.hubs[0].history("h")] == ["1"]
