"""Keyed topics in a feed: the same frames as for plain clients, behind a ``sync``."""

from __future__ import annotations

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client, at


def test_a_snapshot_changes_and_a_return(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    hub.topic("quotes", mode="keyed")
    hub.publish("quotes", "1", key="a")
    feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
    client = Client(loop, feed, "?topic=quotes")
    _, sync, *rest = client.said()
    assert sync["sync"] == {
        "at": at(sync, 1), "resumed": None, "missed": 0, "reason": None, "snapshot": True, "lossy": False
    }  # fmt: skip
    assert rest == [{"t": "quotes", "snap": {"a": 1}}, {"t": "quotes", "live": at(sync, 1)}]
    assert client.say('{"pub":"quotes","d":{"n":2},"k":"b","id":1}') == [
        {"id": 1, "ack": {"at": at(sync, 2), "dup": False}}
    ]
    assert client.say('{"pub":"quotes","rm":true,"k":"a","id":2}') == [
        {"id": 2, "ack": {"at": at(sync, 3), "dup": False}}
    ]
    loop.advance(0.1)
    assert client.said() == [
        {"t": "quotes", "set": {"b": {"n": 2}}, "rm": ["a"]},
        {"t": "quotes", "live": at(sync, 3)},
    ]
    again = Client(loop, client.server, f"?topic=quotes&since={at(sync, 2)}")
    _, resumed, *rest = again.said()
    assert (resumed["sync"]["resumed"], resumed["sync"]["snapshot"]) == (True, False)
    assert rest == [{"t": "quotes", "rm": ["a"]}, {"t": "quotes", "live": at(sync, 3)}]
    assert again.say('{"unsub":"quotes"}') == [{"t": "quotes", "end": "unsub"}]
    assert hub.count("quotes") == 1


def test_what_cannot_be_published(loop: ManualLoop) -> None:
    hub = fastws.Hub()
    hub.topic("quotes", mode="keyed", max_keys=1)
    hub.publish("quotes", "1", key="a")
    client = Client(loop, fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone))
    client.said()
    for command in (
        '{"pub":"quotes","d":1}',
        '{"pub":"quotes","b":"AA==","k":"a"}',
        '{"pub":"quotes","d":1,"k":"b"}',
        '{"pub":"plain","d":1,"k":"a"}',
        '{"pub":"plain","rm":true,"k":"a"}',
    ):
        assert client.code(command) == "bad_request", command
