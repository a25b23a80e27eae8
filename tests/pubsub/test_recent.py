"""With how many of the last messages a client begins, where the topic says it."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import Hub
from fastws.loop.turn import Turn
from fastws.testing import ManualLoop
from tests.pubsub.histories import Client, publish


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.topic("t", history=10, recent=2)
    return made


def test_as_the_topic_says(loop: ManualLoop, turn: Turn, hub: Hub) -> None:
    publish(hub, "t", 1, 5)
    for recent, texts in ((None, ["4", "5"]), (0, []), (3, ["3", "4", "5"])):
        client = Client(loop, turn)
        hub.subscribe(client, "t", recent=recent)
        loop.settle()
        assert client.texts() == texts


def test_twice_does_no_harm(loop: ManualLoop, turn: Turn, hub: Hub) -> None:
    publish(hub, "t", 1, 5)
    client = Client(loop, turn)
    first = hub.subscribe(client, "t")
    assert hub.subscribe(client, "t") == first
    loop.settle()
    assert client.texts() == ["4", "5"]


def test_who_returns_gets_what_it_has_missed(loop: ManualLoop, turn: Turn, hub: Hub) -> None:
    publish(hub, "t", 1, 5)
    at = loop.run(hub.position("t"))
    publish(hub, "t", 6, 9)
    for since, texts in ((at, ["6", "7", "8", "9"]), ("other:5", ["8", "9"])):
        client = Client(loop, turn)
        hub.subscribe(client, "t", since=since)
        loop.settle()
        assert client.texts() == texts


def test_at_a_pace(loop: ManualLoop, turn: Turn, hub: Hub) -> None:
    publish(hub, "t", 1, 5)
    client = Client(loop, turn)
    synced = hub.subscribe(client, "t", max_rate=1)
    assert synced is not None and synced.at.offset == 3
    assert hub.subscribe(client, "t", max_rate=1) is not None


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"recent": 5}, ValueError),
        ({"recent": 5, "mode": "keyed"}, ValueError),
        ({"recent": -1, "history": 5}, ValueError),
        ({"recent": "5", "history": 5}, TypeError),
        ({"recent": True, "history": 5}, TypeError),
    ],
)
def test_what_cannot_be(settings: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="recent"):
        Hub().topic("t", **settings)
