"""A feed and its clients: who is told what, in which order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import fastws
from fastws.testing import ManualLoop, RawClient
from fastws.testing.wire import CLOSE
from tests.kit.served import opened


class Client:
    """A client of a feed made of bytes."""

    def __init__(self, loop: ManualLoop, feed: Any, query: str = "", **options: Any) -> None:
        self.loop = loop
        route = feed if isinstance(feed, fastws.Server) else fastws.Route("/feed", feed)
        self.raw: RawClient = opened(loop, route, path=f"/feed{query}", **options)

    def say(self, text: str) -> list[Any]:
        self.raw.text(text)
        return self.said()

    def said(self) -> list[Any]:
        """Take what has come: the objects, and the code of a close."""
        self.loop.settle()
        return [
            int.from_bytes(frame.payload[:2], "big") if frame.opcode == CLOSE else orjson.loads(frame.payload)
            for frame in self.raw.frames()
        ]


@pytest.fixture
def hub() -> fastws.Hub:
    made = fastws.Hub()
    made.topic("kept/*", history=5)
    return made


@pytest.fixture
def feed(hub: fastws.Hub) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)


def at(said: dict[str, Any], offset: int) -> str:
    """The position of an offset in the epoch of a sync."""
    epoch = said["sync"]["at"].rpartition(":")[0]
    return f"{epoch}:{offset}"


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
    server = client.raw.connection.host
    again = Client(loop, server, f"?topic=kept/a&since={at(sync, 1)}")
    _, resumed, *rest, live = again.said()
    assert resumed["sync"]["resumed"] is True and resumed["sync"]["at"] == at(sync, 1)
    assert rest == [{"t": "kept/a", "at": at(sync, n + 1), "d": str(n)} for n in (1, 2, 3)]
    assert live == {"t": "kept/a", "live": at(sync, 4)}
