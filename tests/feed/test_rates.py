"""A rate that a client of a feed asks for, and one that it is granted; what is left out of a flood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastws
from fastws.testing import ManualLoop, memory_broker
from tests.feed.clients import Client
from tests.kit import until
from tests.kit.buses import Listener


@pytest.mark.parametrize("history", [0, 50])
def test_the_newest_and_a_gap(loop: ManualLoop, history: int) -> None:
    hub = fastws.Hub()
    hub.topic("t", history=history)
    feed = fastws.Feed(hub, may_subscribe=lambda client, topic: fastws.Grant(max_rate=10))
    slow = Client(loop, feed, "?topic=t&rate=2")
    granted = Client(loop, slow.server, "?topic=t")
    for client in (slow, granted):
        assert client.said()[1]["sync"]["lossy"] is True
    listeners = hub.subscribers("t")
    assert len(listeners) == hub.count("t") == 2
    assert list(hub.topics(listeners[0])) == ["t"]
    for number in range(100):
        hub.publish("t", str(number))
        loop.advance(0.01)
    loop.advance(1.5)
    for client, most in ((slow, 3), (granted, 11)):
        said = client.said()
        data = [each for each in said if "d" in each]
        gaps = [each["gap"] for each in said if "gap" in each]
        assert most - 1 <= len(data) <= most
        assert data[-1]["d"] == "99"
        assert ("at" in data[-1]) is (history > 0)
        assert {gap["reason"] for gap in gaps} == {"sampled"}
        assert sum(gap["missed"] for gap in gaps) + len(data) == 100
        client.raw.close()
        client.said()
    assert hub.count("t") == 0


def test_of_a_keyed_topic(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    hub.topic("t", mode="keyed")
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
    client = Client(loop, feed, "?topic=t&rate=2")
    loop.advance(0.6)
    _, sync, *rest = client.said()
    assert rest == [{"t": "t", "snap": {}}, {"t": "t", "live": sync["sync"]["at"]}]
    for number in range(100):
        hub.publish("t", str(number), key="a")
        loop.advance(0.01)
    loop.advance(2)
    said = client.said()
    assert 2 <= len([each for each in said if "set" in each]) <= 4
    assert [each for each in said if "set" in each][-1]["set"] == {"a": 99}
    assert said[-1] == {"t": "t", "live": str(loop.run(hub.position("t")))}


def test_of_a_flood(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    hub.topic("t", sample=10)
    client = Client(loop, fastws.Feed(hub, may_subscribe=fastws.anyone), "?topic=t")
    assert client.said()[1]["sync"]["lossy"] is True
    passed = 0
    for number in range(500):
        passed += hub.publish("t", str(number))
        loop.advance(0.002)
    loop.advance(1.5)
    said = client.said()
    assert len([each for each in said if "d" in each]) == passed
    assert sum(each["gap"]["missed"] for each in said if "gap" in each) == 500 - passed
    assert 10 <= passed <= 12


@pytest.mark.parametrize("history", [0, 50])
def test_ones_own_on_top(loop: ManualLoop, history: int) -> None:
    hub = fastws.Hub()
    hub.topic("t", sample=1, history=history)
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
    sender = Client(loop, feed, "?topic=t")
    viewer, deaf = Client(loop, sender.server, "?topic=t"), Client(loop, sender.server)
    for client in (sender, viewer, deaf):
        client.said()
    for number in range(5):
        sender.raw.text(f'{{"pub":"t","d":{number}}}')
        deaf.raw.text(f'{{"pub":"t","d":{10 + number}}}')
        loop.settle()
    loop.advance(1.5)
    own, seen = sender.said(), viewer.said()
    assert [each["d"] for each in own if "d" in each] == [0, 1, 2, 3, 4]
    assert [each["d"] for each in seen if "d" in each] == [0]
    assert [each["gap"]["missed"] for each in own if "gap" in each] == [5]
    assert [each["gap"]["missed"] for each in seen if "gap" in each] == [9]
    assert deaf.said() == []


class TestOnesOwn:
    """What was left out comes to who has said it, a little later: with what all get, where that comes."""

    def sampled(self, loop: ManualLoop) -> tuple[fastws.Hub, Client]:
        hub = fastws.Hub()
        hub.topic("t", sample=1)
        feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
        sender = Client(loop, feed, "?topic=t")
        sender.said()
        hub.publish("t", "let through")
        loop.settle()
        assert [each["d"] for each in sender.said()] == ["let through"]
        return hub, sender

    def say(self, loop: ManualLoop, sender: Client, text: str = "own") -> None:
        sender.raw.text(f'{{"pub":"t","d":"{text}"}}')
        loop.settle()

    def data(self, sender: Client) -> list[str]:
        return [each["d"] for each in sender.said() if "d" in each]

    def test_it_waits_for_what_all_get(self, loop: ManualLoop) -> None:
        hub, sender = self.sampled(loop)
        loop.advance(0.98)
        self.say(loop, sender)
        assert self.data(sender) == []
        loop.advance(0.03)
        assert hub.publish("t", "next") == 1
        loop.settle()
        assert self.data(sender) == ["own", "next"]
        loop.advance(0.1)
        assert self.data(sender) == []

    def test_but_not_for_long(self, loop: ManualLoop) -> None:
        _, sender = self.sampled(loop)
        self.say(loop, sender)
        loop.advance(0.04)
        assert self.data(sender) == []
        loop.advance(0.02)
        assert self.data(sender) == ["own"]

    def test_who_leaves_meanwhile_gets_nothing_more(self, loop: ManualLoop) -> None:
        hub, sender = self.sampled(loop)
        self.say(loop, sender)
        sender.raw.text('{"unsub":"t"}')
        loop.settle()
        loop.advance(0.1)
        assert self.data(sender) == []
        assert hub.count("t") == 0

    def test_not_much_waits(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastws.pubsub.gate.OWN_BYTES", 100)
        _, sender = self.sampled(loop)
        self.say(loop, sender, "x" * 80)
        assert self.data(sender) == []
        self.say(loop, sender, "y" * 80)
        assert self.data(sender) == ["x" * 80, "y" * 80]


class TestRenewed:
    """A renewed token may have another rate; nothing is lost in silence when it changes."""

    def renewing(
        self, loop: ManualLoop, rates: list[float | None], **options: Any
    ) -> tuple[fastws.Hub, Client, Callable[[], list[Any]]]:
        hub = fastws.Hub()
        hub.topic("t", **options)
        feed = fastws.Feed(
            hub,
            may_subscribe=lambda client, topic: fastws.Grant(max_rate=rates[0]),
            authenticate=lambda request, token: None if token is None else fastws.User(token),
        )
        client = Client(loop, feed, "?topic=t")
        client.say('{"auth":"ann"}')

        def renew() -> list[Any]:
            rates.pop(0)
            hello, *rest = client.say('{"auth":"ann"}')
            assert "hello" in hello
            return rest

        return hub, client, renew

    @pytest.mark.parametrize("history", [0, 50])
    @pytest.mark.parametrize("rates", [[None, 2.0, 5.0, None], [1.0, None, 4.0]])
    def test_a_stream(self, loop: ManualLoop, history: int, rates: list[float | None]) -> None:
        hub, client, renew = self.renewing(loop, list(rates), history=history)
        said: list[Any] = []
        published = 0
        for _ in range(len(rates)):
            before = len(said)
            for _ in range(20):
                hub.publish("t", str(published))
                published += 1
                loop.advance(0.1)
                said += client.said()
            data = [each for each in said[before:] if "d" in each]
            rate = rates[0]
            assert len(data) <= (20 if rate is None else 2 * rate + 20)
            rates = rates[1:]
            if rates:
                said += renew()
        loop.advance(2)
        said += client.said()
        data = [int(each["d"]) for each in said if "d" in each]
        missed = sum(each["gap"]["missed"] for each in said if "gap" in each)
        assert data == sorted(set(data)) and data[-1] == published - 1
        assert len(data) + missed == published
        assert not any("end" in each or "sync" in each for each in said)

    def test_it_is_slower_from_then_on(self, loop: ManualLoop) -> None:
        hub, client, renew = self.renewing(loop, [None, 2.0], history=50)
        assert renew() == []
        for number in range(20):
            hub.publish("t", str(number))
            loop.advance(0.1)
        assert 4 <= len([each for each in client.said() if "d" in each]) <= 5

    def test_keys(self, loop: ManualLoop) -> None:
        hub, client, renew = self.renewing(loop, [None, 1.0, None], mode="keyed")
        held: dict[str, Any] = {}
        for rest in ([], [0], [0]):
            if rest:
                renew()
            for number in range(30):
                hub.publish("t", json=number, key=str(number % 3))
                loop.advance(0.05)
                for each in client.said():
                    held |= each.get("set", {})
        loop.advance(2)
        for each in client.said():
            held |= each.get("set", {})
        assert held == {"0": 27, "1": 28, "2": 29}

    @pytest.mark.parametrize("history", [0, 50])
    def test_a_client_that_is_behind(self, loop: ManualLoop, history: int) -> None:
        rates: list[float | None] = [None, 2.0]
        hub, client, _ = self.renewing(loop, rates, history=history)
        client.raw.stall(1)
        for number in range(10):
            hub.publish("t", str(number))
            loop.settle()
        client.raw.text('{"auth":"ann"}')
        del rates[0]
        client.raw.read()  # takes bytes again: it is behind, and is obeyed
        said = client.said()
        assert any("hello" in each for each in said)
        loop.advance(10)
        hub.publish("t", "10")
        loop.advance(10)
        said += client.said()
        data = [int(each["d"]) for each in said if "d" in each]
        missed = sum(each["gap"]["missed"] for each in said if "gap" in each)
        assert data == sorted(set(data)) and data[-1] == 10
        assert len(data) + missed == 11


async def test_a_rate_that_changes_before_it_is_known_where_a_topic_begins() -> None:
    one, two = fastws.Hub(), fastws.Hub()
    for hub in (one, two):
        hub.topic("t", history=5)
    async with memory_broker(one, two) as broker:
        broker.stop()
        client = Listener()
        joined = one._subscribe_view(client, "t", None, 0)
        assert joined is not None and joined.synced is None
        view: Any = joined.topic
        (wish,) = view.wishes.values()
        assert wish.pace is None
        assert one._change_rate(client, view, 2.0) is None
        (wish,) = view.wishes.values()
        assert wish.pace.interval == 0.5
        assert one._change_rate(client, view, None) is None
        (wish,) = view.wishes.values()
        assert wish.pace is None
        broker.start()
        await until(lambda: not view.wishes)
