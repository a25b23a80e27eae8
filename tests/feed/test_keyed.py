"""Keyed topics through feeds: a snapshot, changes, and keys that clients set and remove."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client, at

TICK = 0.03


@pytest.fixture
def hub() -> fastws.Hub:
    made = fastws.Hub()
    made.topic("quotes", mode="keyed")
    made.topic("kept", history=5)
    return made


@pytest.fixture
def feed(hub: fastws.Hub) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)


def after_a_tick(loop: ManualLoop, client: Client) -> list[Any]:
    loop.settle()
    loop.advance(TICK)
    return [each for each in client.said() if "live" not in each]


def test_a_snapshot_then_changes(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    watcher = Client(loop, feed)
    hub.publish("quotes", "1.50", key="a")
    hub.publish("quotes", json={"x": 1}, key="b")
    client = Client(loop, watcher.server, "?topic=quotes&recent=5")
    _, sync, snapshot, live = client.said()
    assert sync["sync"] == {
        "at": at(sync, 2), "resumed": None, "missed": 0, "reason": None, "snapshot": True, "lossy": False
    }  # fmt: skip
    assert snapshot == {"t": "quotes", "snap": {"a": 1.5, "b": {"x": 1}}}
    assert live == {"t": "quotes", "live": at(sync, 2)}
    hub.publish("quotes", "2", key="a")
    hub.publish("quotes", "3", key="a")
    hub.remove("quotes", "b")
    assert after_a_tick(loop, client) == [{"t": "quotes", "set": {"a": 3}, "rm": ["b"]}]
    hub.clear("quotes")
    assert after_a_tick(loop, client) == [{"t": "quotes", "clear": True}]
    again = Client(loop, watcher.server, f"?topic=quotes&since={at(sync, 2)}")
    _, resumed, *rest = again.said()
    assert (resumed["sync"]["resumed"], resumed["sync"]["snapshot"]) == (True, False)
    assert rest[-1]["live"] == at(sync, 6)


def test_clients_set_and_remove_keys(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    ann, bob = Client(loop, feed), Client(loop, feed, "?topic=quotes")
    ann.said()
    sync = bob.said()[1]
    (acked,) = ann.say('{"pub":"quotes","d":18446744073709551616,"k":"a","id":1,"once":"x"}')
    assert acked == {"id": 1, "ack": {"at": at(sync, 1), "dup": False}}
    assert ann.say('{"pub":"quotes","d":7,"k":"a","id":1,"once":"x"}')[0]["ack"]["dup"] is True
    loop.advance(TICK)
    loop.settle()
    assert bob.raw.frames()[0].text == '{"t":"quotes","set":{"a":18446744073709551616}}'
    assert ann.say('{"pub":"quotes","k":"a","rm":true,"id":2}')[0]["ack"]["at"] == at(sync, 2)
    assert after_a_tick(loop, bob) == [{"t": "quotes", "rm": ["a"]}]


@pytest.mark.parametrize(
    "text",
    [
        '{"pub":"quotes","d":1}',
        '{"pub":"quotes","b":"AA==","k":"a"}',
        '{"pub":"kept","d":1,"k":"a"}',
        '{"pub":"kept","k":"a","rm":true}',
        '{"pub":"plain","d":1,"k":"a"}',
    ],
)
def test_what_does_not_fit_the_topic(loop: ManualLoop, feed: fastws.Feed, text: str) -> None:
    client = Client(loop, feed)
    client.said()
    assert client.code(text) == "bad_request"
    assert client.say('{"pub":"quotes","d":1,"k":"a","id":1}')[0]["id"] == 1


def test_the_end_of_a_subscription(loop: ManualLoop, feed: fastws.Feed, hub: fastws.Hub) -> None:
    client = Client(loop, feed, "?topic=quotes")
    client.said()
    assert client.say('{"unsub":"quotes"}') == [{"t": "quotes", "end": "unsub"}]
    hub.publish("quotes", "2", key="a")
    assert after_a_tick(loop, client) == []
    assert hub.count("quotes") == 0


def test_a_key_too_many(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    hub.topic("quotes", mode="keyed", max_keys=1)
    client = Client(loop, fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone))
    client.said()
    client.say('{"pub":"quotes","d":1,"k":"a"}')
    assert client.code('{"pub":"quotes","d":1,"k":"b","id":1}') == "limit"
    assert client.say('{"pub":"quotes","d":2,"k":"a","id":2}')[0]["ack"]
