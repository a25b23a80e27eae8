"""Clients of feeds that are slow, fast or greedy: nothing is lost in silence."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client, at


def feed_of(hub: fastws.Hub, **options: Any) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone, **options)


def stall(loop: ManualLoop, client: Client, hub: fastws.Hub, topic: str) -> None:
    """Let its socket refuse: one message of which it takes one byte."""
    client.said()
    client.raw.stall(1)
    hub.publish(topic, "stalls")
    loop.settle()


class TestSlow:
    @pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
    def test_a_topic_without_a_history(self, loop: ManualLoop, policy: str) -> None:
        hub = fastws.Hub(policy=policy)
        slow = Client(loop, feed_of(hub), "?topic=t")
        quick = Client(loop, slow.server, "?topic=t")
        quick.said()
        stall(loop, slow, hub, "t")
        for number in range(300):
            hub.publish("t", str(number))
            loop.settle()
        assert [each["d"] for each in quick.said()] == ["stalls", *map(str, range(300))]
        slow.raw.read()
        stalls, gap, *rest = slow.said()
        assert stalls["d"] == "stalls"
        assert gap == {"t": "t", "gap": {"missed": 44, "reason": "slow"}}
        assert [each["d"] for each in rest] == list(map(str, range(44, 300)))
        hub.publish("t", "on")
        assert slow.said() == quick.said() == [{"t": "t", "d": "on"}]

    def test_a_few_that_wait(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        slow = Client(loop, feed_of(hub), "?topic=t")
        stall(loop, slow, hub, "t")
        for number in range(100):  # some in the same turn, others not
            hub.publish("t", str(number))
            if number % 7 == 0:
                loop.settle()
        loop.settle()
        assert hub.kept_bytes() > 100 * len('{"t":"t","d":"0"}')
        slow.raw.read()
        assert [each.get("d") for each in slow.said()] == ["stalls", *map(str, range(100))]
        assert hub.kept_bytes() == 0

    def test_a_policy_that_closes(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        slow = Client(loop, feed_of(hub), "?topic=t")
        stall(loop, slow, hub, "t")
        for number in range(300):
            hub.publish("t", str(number))
        loop.settle()
        slow.raw.read()
        assert slow.said()[-1] == 1008

    def test_a_history_that_forgets(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        hub.topic("t", history=10)
        slow = Client(loop, feed_of(hub), "?topic=t")
        sync = slow.said()[1]
        stall(loop, slow, hub, "t")
        for number in range(30):
            hub.publish("t", str(number))
        loop.settle()
        slow.raw.read()
        stalls, gap, *rest = slow.said()
        assert stalls["at"] == at(sync, 1)
        assert gap == {"t": "t", "gap": {"missed": 20, "reason": "slow"}}
        assert [(each["at"], each["d"]) for each in rest] == [
            (at(sync, n + 2), str(n)) for n in range(20, 30)
        ]

    def test_answers_wait_and_commands_too(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        hub.topic("t", history=1000)
        slow = Client(loop, feed_of(hub), "?topic=other")
        stall(loop, slow, hub, "other")
        for number in range(5):
            slow.raw.text(f'{{"pub":"t","d":{number},"id":{number}}}')
        loop.settle()
        assert loop.run(hub.position("t")).offset < 5
        slow.raw.read()
        answers = [each["id"] for each in slow.said() if "ack" in each]
        assert answers == [0, 1, 2, 3, 4]
        assert loop.run(hub.position("t")).offset == 5

    def test_a_snapshot_that_is_never_read(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        hub.topic("quotes", mode="keyed")
        client = Client(loop, feed_of(hub))
        client.said()
        for key in range(5000):
            hub.publish("quotes", json="x" * 100, key=str(key))
        client.raw.stall(100_000)
        client.raw.text('{"sub":"quotes"}')
        loop.settle()
        connection = client.raw.connection
        assert connection.outbox.queue_bytes == 0
        assert connection.outbox.buffered_amount < 128 * 1024
        client.raw.read()
        held: dict[str, Any] = {}
        for each in client.said():
            held |= each.get("snap", {})
        assert len(held) == 5000


class TestGreedy:
    def test_topics(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        query = "?" + "&".join(f"topic=t{number}" for number in range(200))
        said = Client(loop, feed_of(hub), query).said()
        assert sum("sync" in each for each in said) == 128
        errors = [each["error"]["code"] for each in said if "error" in each]
        assert errors == ["limit"] * 72

    def test_ten_thousand_subscriptions(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        client = Client(loop, feed_of(hub, max_topics=3))
        client.said()
        said: list[Any] = []
        for number in range(10_000):
            if number % 40 == 0:
                loop.advance(1.1)
                said += client.said()
            client.raw.text(f'{{"sub":"t{number}","id":{number}}}')
        said += client.said()
        answers = [each for each in said if each and "live" not in each]
        assert len(answers) == 10_000
        assert [each["id"] for each in answers[3:]] == list(range(3, 10_000))
        assert {each["error"]["code"] for each in answers[3:]} == {"limit"}

    def test_commands(self, loop: ManualLoop) -> None:
        client = Client(loop, feed_of(fastws.Hub()))
        client.said()
        said = client.say(*[f'{{"unsub":"t","id":{number}}}' for number in range(60)])
        assert [each.get("end") for each in said[:50]] == ["unsub"] * 50
        assert [(each["id"], each["error"]["code"], each["error"]["retry_ms"]) for each in said[50:]] == [
            (number, "too_fast", 1000) for number in range(50, 60)
        ]
        loop.advance(1.1)
        assert client.say('{"unsub":"t"}')[-1] == {"t": "t", "end": "unsub"}

    def test_a_flood(self, loop: ManualLoop) -> None:
        client = Client(loop, feed_of(fastws.Hub()))
        client.said()
        assert client.say(*['{"unsub":"t"}'] * 300)[-1] == 4429

    def test_one_that_is_too_large_gets_its_answer(self, loop: ManualLoop) -> None:
        client = Client(loop, feed_of(fastws.Hub()))
        client.said()
        (answer,) = client.say('{"pub":"t","d":"' + "x" * 65536 + '","id":8}')
        assert (answer["id"], answer["error"]["code"]) == (8, "too_large")

    @pytest.mark.parametrize("rate", ["1_0", "+1", " 1", "0x1", "1e400", "nan", "\u0661", "1.", ".5", "1e"])
    def test_rates_that_are_none(self, loop: ManualLoop, rate: str) -> None:
        query = f"?topic=a&rate={quote(rate)}"
        assert Client(loop, feed_of(fastws.Hub()), query).said() == [4400]

    @pytest.mark.parametrize("rate", ["1", "10", "0.5", "2e1", "1E+1", ""])
    def test_rates(self, loop: ManualLoop, rate: str) -> None:
        said = Client(loop, feed_of(fastws.Hub()), f"?topic=a&rate={quote(rate)}").said()
        assert said[1]["sync"]["lossy"]

    def test_the_url(self, loop: ManualLoop) -> None:
        feed = feed_of(fastws.Hub())
        for query in (
            "?since=x",
            "?topic=a&recent=x",
            "?topic=a&rate=-1",
            "?topic=a&recent=1&recent=2",
            "?topic=%FF",
        ):
            assert Client(loop, feed, query).said() == [4400]
        for query in ("?topic=%FF", "?topic=a&since=%C3", "?topic=%ED%A0%80", "?topic=a&%FF=1"):
            # With a replacement character in its place it would be the name of another topic.
            assert Client(loop, feed, query).said() == [4400], query
        said = Client(loop, feed, "?topic=a&topic=b&rate=5&other=1").said()
        assert sum("sync" in each for each in said) == 2

    @pytest.mark.parametrize(
        "name", ["", "a//b", "/a", "a/", "a/../b", ".", "a*", "*", "a\\u0000b", "a\\nb", "é" * 128]
    )
    def test_names_that_no_topic_has(self, loop: ManualLoop, name: str) -> None:
        client = Client(loop, feed_of(fastws.Hub()))
        client.said()
        assert client.code(f'{{"sub":"{name}"}}') == "bad_request"
        assert client.code(f'{{"pub":"{name}","d":1}}') == "bad_request"
        assert client.say('{"sub":"a"}')[0]["t"] == "a"


class TestRecent:
    def test_as_the_topic_says(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        hub.topic("t", history=10, recent=2)
        hub.topic("plain")
        feed = feed_of(hub)
        client = Client(loop, feed)
        client.say(*[f'{{"pub":"t","d":{number}}}' for number in range(5)])
        for query, values in (
            ("?topic=t", [3, 4]),
            ("?topic=t&recent=0", []),
            ("?topic=t&recent=3", [2, 3, 4]),
            ("?topic=t&rate=5", [4]),
        ):
            said = Client(loop, feed, query).said()
            loop.advance(1)
            assert [each["d"] for each in said if "d" in each] == values
        assert [*Client(loop, feed, "?topic=plain").said()[1]] == ["t", "sync"]

    @pytest.mark.parametrize("recent", ["1000000000", "-1", "1.0", "1e3"])
    def test_what_is_none(self, loop: ManualLoop, recent: str) -> None:
        client = Client(loop, feed_of(fastws.Hub()))
        client.said()
        (answer,) = client.say(f'{{"sub":"t","recent":{recent}}}')
        assert answer["error"]["reason"] == "recent is an integer from 0 to 999999999"
        assert Client(loop, feed_of(fastws.Hub()), f"?topic=t&recent={recent}").said() == [4400]
