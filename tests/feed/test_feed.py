"""A feed and its clients: who is told what, in which order."""

from __future__ import annotations

import pytest

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client, at


@pytest.fixture
def hub() -> fastws.Hub:
    made = fastws.Hub()
    made.topic("kept/*", history=5)
    return made


@pytest.fixture
def feed(hub: fastws.Hub) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)


def test_hello_first_then_topics(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    client = Client(loop, feed, "?topic=kept/a&topic=plain")
    hello, sync, live, plain, plain_live = client.said()
    assert hello["hello"] == {"v": 1, "id": hello["hello"]["id"], "user": None, "ping": 10, "expires": None}
    assert sync == {
        "t": "kept/a",
        "sync": {
            "at": at(sync, 0), "resumed": None, "missed": 0, "reason": None, "snapshot": False, "lossy": False
        },
    }  # fmt: skip
    assert live == {"t": "kept/a", "live": at(sync, 0)}
    assert plain["sync"] == {
        "at": None, "resumed": None, "missed": 0, "reason": None, "snapshot": False, "lossy": True
    }  # fmt: skip
    assert plain_live == {"t": "plain", "live": None}
    assert hub.publish("kept/a", "text") == 1
    assert hub.publish("plain", b"\0\xff") == 1
    assert client.said() == [
        {"t": "kept/a", "at": at(sync, 1), "d": "text"},
        {"t": "plain", "b": "AP8="},
    ]
    assert hub.count("kept/a") == 1 and len(hub.subscribers("plain")) == 1
    client.raw.close()
    client.said()
    assert hub.count("kept/a") == hub.count("plain") == 0


def test_a_client_publishes(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    hub.topic("plain")
    ann, bob = Client(loop, feed), Client(loop, feed, "?topic=kept/a&topic=plain")
    ann.said()
    sync = bob.said()[1]
    assert ann.say('{"pub":"kept/a","d":{"n": 18446744073709551616},"id":1}') == [
        {"id": 1, "ack": {"at": at(sync, 1), "dup": False}}
    ]
    (relayed,) = bob.raw.frames()
    assert relayed.text == f'{{"t":"kept/a","at":"{at(sync, 1)}","d":{{"n": 18446744073709551616}}}}'
    assert ann.say('{"pub":"plain","d":"x"}') == []
    assert bob.said() == [{"t": "plain", "d": "x"}]


def test_it_comes_back(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    client = Client(loop, feed, "?topic=kept/a")
    sync = client.said()[1]
    for number in range(4):
        hub.publish("kept/a", str(number))
    again = Client(loop, client.server, f"?topic=kept/a&since={at(sync, 1)}")
    _, resumed, *rest, live = again.said()
    assert resumed["sync"]["resumed"] is True and resumed["sync"]["at"] == at(sync, 1)
    assert rest == [{"t": "kept/a", "at": at(sync, n + 1), "d": str(n)} for n in (1, 2, 3)]
    assert live == {"t": "kept/a", "live": at(sync, 4)}


def test_a_second_subscription_of_a_topic(loop: ManualLoop, feed: fastws.Feed) -> None:
    client = Client(loop, feed, "?topic=kept/a&topic=kept/a")
    assert [each.get("error", {}).get("code") for each in client.said()][-1] == "subscribed"
    assert client.code('{"sub":"kept/a","since":"x:1"}') == "subscribed"
    assert client.say('{"unsub":"kept/a"}') == [{"t": "kept/a", "end": "unsub"}]
    assert client.say('{"unsub":"kept/a"}') == [{"t": "kept/a", "end": "unsub"}]
    assert [*client.say('{"sub":"kept/a"}')[0]] == ["t", "sync"]


def test_commands_and_answers_in_order(loop: ManualLoop, feed: fastws.Feed) -> None:
    client = Client(loop, feed)
    client.said()
    said = client.say(
        '{"sub":"kept/a"}',
        '{"pub":"kept/a","d":1,"id":1}',
        '{"pub":"kept/a","d":2,"id":2}',
        '{"unsub":"kept/a"}',
        '{"pub":"kept/a","d":3,"id":3}',
    )
    kinds = [next(name for name in each if name not in ("t", "at", "id")) for each in said]
    assert kinds == ["sync", "live", "d", "ack", "d", "ack", "end", "ack"]


def test_where_a_topic_begins(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    client = Client(loop, feed, "?topic=kept/a")
    first = client.said()[1]
    for number in range(1, 9):
        hub.publish("kept/a", str(number))
    client.said()

    def begin(query: str) -> tuple[object, ...]:
        _, sync, *rest = Client(loop, client.server, f"?topic=kept/a&{query}").said()
        said = sync["sync"]
        values = [each["d"] for each in rest if "d" in each]
        return said["resumed"], said["missed"], said["reason"], said["at"].rpartition(":")[2], values

    kept = ["4", "5", "6", "7", "8"]
    assert begin("recent=2") == (None, 0, None, "6", ["7", "8"])
    assert begin("since=&recent=99") == (None, 0, None, "3", kept)
    assert begin(f"since={at(first, 8)}") == (True, 0, None, "8", [])
    assert begin(f"since={at(first, 1)}") == (False, 2, "limit", "3", kept)
    assert begin(f"since={at(first, 9)}&recent=1") == (False, None, "future", "7", ["8"])
    assert begin("since=another:3") == (False, None, "epoch", "8", [])
    other = Client(loop, client.server, "?topic=kept/b").said()[1]
    assert begin(f"since={at(other, 0)}") == (False, None, "epoch", "8", [])
    assert begin("since=plain:1").__len__() == 5
    _, refused = Client(loop, client.server, "?topic=kept/a&since=garbage").said()
    assert refused["error"]["code"] == "bad_request" and refused["t"] == "kept/a"


def test_a_topic_without_history_has_no_place_to_come_back_to(loop: ManualLoop, feed: fastws.Feed) -> None:
    _, sync, live = Client(loop, feed, "?topic=plain&since=x:1&recent=5").said()
    assert sync["sync"] == {
        "at": None, "resumed": False, "missed": None, "reason": "epoch", "snapshot": False, "lossy": True
    }  # fmt: skip
    assert live == {"t": "plain", "live": None}


def test_what_is_said_in_silence(loop: ManualLoop, hub: fastws.Hub) -> None:
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, ping=4)
    client = Client(loop, feed, "?topic=t")
    assert client.said()[0]["hello"]["ping"] == 4
    beats = 0
    for second in range(12):
        loop.advance(1)
        if second == 1:
            hub.publish("t", "x")
        beats += client.said().count({})
    assert beats == 2


def test_the_same_bytes_for_all_variants(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    plain = Client(loop, feed, "?topic=kept/a")
    header = "Sec-WebSocket-Extensions: permessage-deflate"
    packed = Client(loop, plain.server, "?topic=kept/a", header)
    plain.said()
    loop.settle()
    packed.raw.frames()
    hub.publish("kept/a", "x" * 5000)
    assert plain.said()[0]["d"] == "x" * 5000
    loop.settle()
    (frame,) = packed.raw.frames()
    assert len(frame.payload) < 500
