"""Who is here, as clients of feeds are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

import fastws
from fastws.feed.messages import Presence, parse_message
from fastws.testing import ManualLoop
from tests.feed.clients import Client

#: Until a message about presence has come: a tick of the wheel, and the next one.
SOON = 0.11
#: Until the next one may come.
NEXT = 0.56


def by_token(request: object, token: str | None) -> fastws.User | None:
    return None if token is None else fastws.User(f"id of {token}", token, info={"name": token.upper()})


def feed_of(mode: str = "list", **options: Any) -> tuple[fastws.Hub, fastws.Feed]:
    hub = fastws.Hub()
    hub.topic("rooms/*", presence=mode, **options)
    return hub, fastws.Feed(hub, may_subscribe=may_subscribe, authenticate=by_token)


def may_subscribe(client: fastws.FeedClient, topic: str) -> bool | fastws.Grant:
    assert client.user is not None
    if client.user.public_id == "spy":
        return fastws.Grant(visible=False)
    if client.user.public_id == "bot":
        return fastws.Grant(info="of the grant")
    return True


class Guest(Client):
    """A client whose user is known."""

    def __init__(self, loop: ManualLoop, feed: Any, user: str, topic: str = "rooms/1") -> None:
        super().__init__(loop, feed, f"?topic={topic}")
        self.kept = self.say(f'{{"auth":"{user}"}}')

    def told(self, seconds: float = SOON) -> list[Any]:
        """What it has been told of who is here, after so many seconds."""
        self.loop.advance(seconds)
        said, self.kept = self.kept + self.said(), []
        return [each["presence"] for each in said if "presence" in each]


def member(id: str, n: int = 1, info: Any = None) -> dict[str, Any]:
    return {"id": id, "n": n, "info": info or {"name": id.upper()}}


def test_who_comes_and_who_goes(loop: ManualLoop) -> None:
    hub, feed = feed_of()
    ann = Guest(loop, feed, "ann")
    assert ann.told() == [{"count": 1, "list": [member("ann")]}]
    loop.advance(1)
    bob = Guest(loop, ann.server, "bob")
    assert ann.told() == [{"count": 2, "join": [member("bob")]}]
    assert bob.told(0) == [{"count": 2, "list": [member("ann"), member("bob")]}]
    bob.raw.close()
    assert ann.told(4.9) == []
    assert loop.run(hub.presence("rooms/1")).count == 2
    assert ann.told(0.3) == [{"count": 1, "leave": ["bob"]}]
    assert loop.run(hub.presence("rooms/1")) == fastws.Presence(
        "rooms/1", 1, (fastws.Member("ann", 1, {"name": "ANN"}),)
    )


def test_the_tabs_of_one_user(loop: ManualLoop) -> None:
    _, feed = feed_of()
    ann = Guest(loop, feed, "ann")
    ann.told(1)
    tab = Guest(loop, ann.server, "ann")
    assert ann.told() == [{"count": 1, "join": [member("ann", 2)]}]
    loop.advance(1)
    tab.raw.close()
    loop.advance(1)
    again = Guest(loop, ann.server, "ann")
    assert ann.told(7) == []
    assert again.told(0) == [{"count": 1, "list": [member("ann", 2)]}]
    again.say('{"unsub":"rooms/1"}')
    assert ann.told(4.9) == []
    assert ann.told(0.3) == [{"count": 1, "join": [member("ann", 1)]}]


def test_who_is_not_seen_is_told(loop: ManualLoop) -> None:
    _, feed = feed_of()
    spy = Guest(loop, feed, "spy")
    assert spy.told() == [{"count": 0, "list": []}]
    loop.advance(1)
    Guest(loop, spy.server, "bot")
    assert spy.told() == [{"count": 1, "join": [member("bot", 1, "of the grant")]}]


def test_at_most_two_messages_a_second(loop: ManualLoop) -> None:
    _, feed = feed_of()
    ann = Guest(loop, feed, "ann")
    ann.told(1)
    times: list[float] = []
    joined: list[str] = []
    for number in range(40):
        Guest(loop, ann.server, f"u{number}")
        for said in ann.told(0.05):
            times.append(loop.time())
            joined += [each["id"] for each in said["join"]]
    joined += [each["id"] for said in ann.told(NEXT) for each in said["join"]]
    assert joined == [f"u{number}" for number in range(40)]
    assert len(times) >= 4
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.499


def test_a_number_alone(loop: ManualLoop) -> None:
    hub, feed = feed_of("count")
    ann = Guest(loop, feed, "ann")
    assert ann.told() == [{"count": 1}]
    loop.advance(1)
    Guest(loop, ann.server, "ann")
    assert ann.told() == []
    bob = Guest(loop, ann.server, "bob")
    assert ann.told(NEXT) == [{"count": 2}]
    assert bob.told(0) == [{"count": 2}]
    assert loop.run(hub.presence("rooms/1")) == fastws.Presence("rooms/1", 2, None)


def test_it_comes_behind_live_and_between_messages(loop: ManualLoop) -> None:
    hub, feed = feed_of(history=5)
    for number in range(5):
        hub.publish("rooms/1", json=number)
    ann = Guest(loop, feed, "ann", "rooms/1&recent=5")
    loop.advance(SOON)
    said = [*ann.kept, *ann.said()]
    assert [key for each in said for key in each if key not in ("t", "at")] == [
        "hello", "sync", "d", "d", "d", "d", "d", "live", "presence"
    ]  # fmt: skip
    loop.advance(1)
    hub.publish("rooms/1", json=6)
    Guest(loop, ann.server, "bob")
    hub.publish("rooms/1", json=7)
    loop.advance(SOON)
    assert sorted(key for each in ann.said() for key in each) == ["at", "at", "d", "d", "presence", *"ttt"]


def test_what_is_told_is_a_message_of_the_protocol(loop: ManualLoop) -> None:
    _, feed = feed_of()
    ann = Guest(loop, feed, "ann")
    loop.advance(1)
    Guest(loop, ann.server, "bob").raw.close()
    loop.advance(SOON)
    (frame,) = ann.raw.frames()
    parsed = parse_message(frame.text)
    assert parsed == Presence("rooms/1", 2, join=(member("bob"),))
    assert parsed.build() == frame.payload


def test_a_topic_that_shows_nobody(loop: ManualLoop) -> None:
    hub, feed = feed_of()
    ann = Guest(loop, feed, "ann", "other")
    assert ann.told(1) == []
    with pytest.raises(ValueError, match="shows nobody"):
        loop.run(hub.presence("other"))
    with pytest.raises(ValueError, match="presence= is 'count' or 'list', not 'all'"):
        hub.topic("x", presence="all")


@pytest.mark.parametrize("rate", ["", "&rate=1"])
def test_of_a_keyed_topic(loop: ManualLoop, rate: str) -> None:
    hub, feed = feed_of(mode="list")
    hub.topic("keys/*", mode="keyed", presence="list")
    for number in range(2000):
        hub.publish("keys/1", json="x" * 100, key=str(number))
    ann = Guest(loop, feed, "ann", f"keys/1{rate}")
    loop.advance(3)
    kinds = [key for each in [*ann.kept, *ann.said()] for key in each if key != "t"]
    assert kinds[:2] == ["hello", "sync"]
    assert set(kinds[2:-2]) == {"snap"}
    assert kinds[-2:] == ["live", "presence"]


@pytest.mark.parametrize("history", [0, 1000])
def test_who_does_not_read_is_told_when_it_has(loop: ManualLoop, history: int) -> None:
    hub, feed = feed_of(history=history)
    for number in range(1000 * bool(history)):
        hub.publish("rooms/1", json=["x" * 1000, number])
    ann = Guest(loop, feed, "ann", "rooms/1&recent=1000" if history else "rooms/1")
    loop.advance(1)
    ann.kept = []
    ann.said()
    bob = Client(loop, ann.server, f"?topic=rooms/1&recent={history}")
    bob.raw.stall(100_000)
    bob.raw.text('{"auth":"bob"}')
    loop.advance(3)
    assert [said["count"] for said in ann.told()] == [2]
    bob.raw.read()
    loop.advance(1)
    said = bob.said()
    assert [key for each in said for key in each if key in ("live", "presence")] == ["live", "presence"]
    assert said[-1]["presence"]["count"] == 2
