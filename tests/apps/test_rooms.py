"""The chat rooms: who may say what, and what a stranger may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fastws
from fastws.apps import rooms
from fastws.apps.rooms import Rooms
from fastws.testing import Clock, memory_broker, pair, until
from tests.apps.clients import PAGES, Client, Site, site

FEED = "/feeds/rooms"
TOPIC = "rooms/blue"


class Talk:
    """A site with rooms, and a clock."""

    def __init__(self, made: Site, hub: fastws.Hub, clock: Clock) -> None:
        self.site = made
        self.hub = hub
        self.clock = clock

    async def enter(self, name: str, room: str = "blue", client: Client | None = None) -> Client:
        """Come as a person of that name, and wait until all is here."""
        client = client or await self.site.client()
        await client.say(auth=f"{name:_<16} {name}")
        await client.until("hello")
        for part in ("/rules", "/muted", "/typing", ""):
            await client.say(sub=f"rooms/{room}{part}", recent=100 if not part else None)
            await client.until("live")
        return client

    async def here(self) -> list[str]:
        """The names of those who are in the room."""
        return [member.id.partition("#")[0] for member in (await self.hub.presence(TOPIC)).members]


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    clock, app = Clock(), Rooms(PAGES)
    async with site(app.routes, FEED, clock) as made:
        yield Talk(made, app.hub, clock)


async def test_what_one_says_all_hear_with_the_name_and_the_time(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    await ann.say(pub=TOPIC, d={"text": "  hello \n you ", "colour": 1})
    for client in (ann, bob):
        message = await client.until("d")
        assert message["d"]["text"] == "hello you"
        assert list(message["d"]) == ["text", "time"]
        assert message["u"].startswith("ann#")
    here = await talk.here()
    assert sorted(here) == ["ann", "bob"]
    late = await talk.enter("eve")
    await bob.say(pub=TOPIC, d={"text": "later"})
    assert (await late.until("d"))["d"]["text"] == "later"
    again = await talk.site.client(f"?topic={TOPIC}&recent=100")
    await again.say(auth="ann_____________ ann")
    assert [(await again.until("d"))["d"]["text"] for _ in range(2)] == ["hello you", "later"]


@pytest.mark.parametrize(
    "token",
    [
        "short ann",
        "secret-of-sixteen",
        "secret-of-sixteen " + "x" * 25,
        "secret-of-sixteen \u202e",
        "secret-of-sixteen a\u200bnn",
        "secret-of-sixteen \u3164\u2800\ufe0f",
    ],
)
async def test_names_that_cannot_be(talk: Talk, token: str) -> None:
    await talk.site.first.say(auth=token)
    with pytest.raises(fastws.ConnectionClosed) as closed:
        await talk.site.first.next()
    assert closed.value.code == 4400


@pytest.mark.parametrize(
    "name", ["ann\u3164", "\uff41nn", " a\u034fnn ", "ann\ufe0f\u2800", "ann\U000e0101"], ids=ascii
)
def test_names_that_look_the_same_are_the_same(name: str) -> None:
    user = Rooms(PAGES).authenticate(None, f"secret-of-sixteen {name}")
    assert user is not None and user.public_id is not None
    assert user.public_id.partition("#")[0] == "ann"


@pytest.mark.parametrize(
    ("topic", "data", "code"),
    [
        (TOPIC, {"text": ""}, "bad_request"),
        (TOPIC, {"text": " \n"}, "bad_request"),
        (TOPIC, {"text": "x" * 501}, "bad_request"),
        (TOPIC, {"text": 1}, "bad_request"),
        (TOPIC, "text", "bad_request"),
        (TOPIC, {"delete": "x" * 81}, "bad_request"),
        (TOPIC, {"delete": "any"}, "forbidden"),
        ("rooms/green", {"text": "from outside"}, "forbidden"),
        ("elsewhere", 1, "forbidden"),
        (f"{TOPIC}/rules", 1, "forbidden"),
    ],
)
async def test_what_nobody_may_say(talk: Talk, topic: str, data: Any, code: str) -> None:
    await talk.enter("ann")
    bob = await talk.enter("bob")
    assert await bob.error(pub=topic, d=data) == code


@pytest.mark.parametrize(
    "topic", ["rooms", "rooms/", "rooms/Blue", "rooms/blue/other", "rooms/" + "x" * 33, "other"]
)
async def test_rooms_that_cannot_be(talk: Talk, topic: str) -> None:
    client = talk.site.first
    await client.say(auth="ann_____________ ann")
    assert await client.error(sub=topic) in ("forbidden", "bad_request")


async def test_who_opens_a_room_moderates_it(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    assert await bob.error(pub=f"{TOPIC}/rules", k="slow", d=5) == "forbidden"
    assert await bob.error(pub=f"{TOPIC}/muted", k="x" * 16, d=True) == "forbidden"
    for key, value in (("owner", "bob"), ("slow", 7), ("other", 5)):
        assert await ann.error(pub=f"{TOPIC}/rules", k=key, d=value) == "forbidden"
    for key, value in (("short", True), ("x" * 16, "long" * 100)):
        assert await ann.error(pub=f"{TOPIC}/muted", k=key, d=value) == "forbidden"
    await bob.say(pub=TOPIC, d={"text": "rude"})
    said = await ann.until("d")
    await ann.say(pub=TOPIC, d={"delete": said["at"]})
    assert (await bob.until("d"))["d"]["text"] == "rude"
    assert (await bob.until("d"))["d"]["delete"] == said["at"]


async def test_who_is_muted_is_silent_for_ten_minutes(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    await bob.say(pub=TOPIC, d={"text": "rude"})
    person = (await ann.until("u"))["u"].partition("#")[2]
    await ann.say(pub=f"{TOPIC}/muted", k=person, d=True, id=1)
    await ann.until("ack")
    assert await bob.error(pub=TOPIC, d={"text": "again"}) == "muted"
    assert await bob.error(pub=f"{TOPIC}/typing", k="x", d=1) == "muted"
    await talk.clock.advance(601)
    await bob.say(pub=TOPIC, d={"text": "sorry"}, id=2)
    assert "ack" in await bob.until("id")


async def test_slow_mode_is_for_all_but_the_moderator(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    await ann.say(pub=f"{TOPIC}/rules", k="slow", d=5, id=1)
    await ann.until("ack")
    for n in range(2):
        await ann.say(pub=TOPIC, d={"text": f"{n}"}, id=n)
        await ann.until("ack")
    await bob.say(pub=TOPIC, d={"text": "one"}, id=1)
    await bob.until("ack")
    assert await bob.error(pub=TOPIC, d={"text": "two"}) == "too_fast"
    await bob.say(pub=TOPIC, d={"text": "late"}, once="abc", id=4)
    assert (await bob.until("error"))["error"]["retry_ms"] == 5000
    await talk.clock.advance(5.1)
    await bob.say(pub=TOPIC, d={"text": "two"}, id=2)
    await bob.until("ack")


async def test_a_message_that_got_no_answer_is_said_again_and_comes_once(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    await ann.say(pub=f"{TOPIC}/rules", k="slow", d=60, id=1)
    await ann.until("ack")
    for dup in (False, True):
        await bob.say(pub=TOPIC, d={"text": "once"}, once="abc", id=int(dup))
        assert (await bob.until("ack"))["ack"]["dup"] is dup
    await ann.say(pub=TOPIC, d={"text": "end"})
    assert [(await ann.until("d"))["d"]["text"] for _ in range(2)] == ["once", "end"]


async def test_who_types_is_shown_by_the_own_name_for_four_seconds(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    await bob.say(pub=f"{TOPIC}/typing", k="ann#forged", d={"any": "thing"})
    await talk.clock.advance(0.1)
    changed = await ann.until("set")
    assert [key.partition("#")[0] for key in changed["set"]] == ["bob"]
    assert set(changed["set"].values()) == {1}
    await talk.clock.advance(4.2)
    assert list((await ann.until("rm"))["rm"]) == list(changed["set"])


async def test_who_has_said_it_types_no_more_however_often_he_did(talk: Talk) -> None:
    ann, bob = await talk.enter("ann"), await talk.enter("bob")
    for _ in range(6):
        await bob.say(pub=f"{TOPIC}/typing", k="me", d=1)
    await bob.say(pub=f"{TOPIC}/typing", k="me", rm=True)
    await talk.clock.advance(0.1)
    assert (await ann.until("rm"))["rm"] or (await ann.until("rm"))


async def test_how_fast_one_may_talk(talk: Talk) -> None:
    ann = await talk.enter("ann")
    for n in range(5):
        await ann.say(pub=TOPIC, d={"text": f"{n}"}, id=n)
        await ann.until("ack")
    assert await ann.error(pub=TOPIC, d={"text": "too much"}) == "too_fast"
    for _ in range(3):
        await ann.say(pub=f"{TOPIC}/typing", k="me", d=1, id=9)
        await ann.until("ack")
    assert await ann.error(pub=f"{TOPIC}/typing", k="me", d=1) == "too_fast"


async def test_how_many_rooms_one_may_open(talk: Talk) -> None:
    client = talk.site.first
    await client.say(auth="ann_____________ ann")
    for n in range(10):
        await client.say(sub=f"rooms/{n}")
        await client.until("live")
    assert await client.error(sub="rooms/one-more") == "too_fast"
    await talk.clock.advance(6.1)
    await client.say(sub="rooms/one-more")
    await client.until("live")


async def test_a_room_that_nobody_is_in_makes_place_for_another(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MOST_ROOMS", 2)
    ann = await talk.enter("ann", "one")
    bob = await talk.enter("bob", "two")
    eve = talk.site.first
    await eve.say(auth="eve_____________ eve")
    assert await eve.error(sub="rooms/three") == "limit"
    await bob.say(unsub="rooms/two")
    await bob.until("end")
    await talk.enter("eve", "three", await talk.site.client())
    await ann.say(pub="rooms/one", d={"text": "still here"})
    assert (await ann.until("d"))["d"]["text"] == "still here"
    # Who opens it again moderates it, for it was forgotten.
    await ann.say(unsub="rooms/one")
    await ann.until("end")
    dan = await talk.enter("dan", "two")
    await dan.say(pub="rooms/two/rules", k="slow", d=5, id=1)
    await dan.until("ack")


async def test_the_pages(talk: Talk) -> None:
    pages = {route.path: route.http for route in Rooms(PAGES).routes if isinstance(route, fastws.Route)}
    moved = pages["/rooms"](fastws.Request(target="/rooms"))  # type: ignore[misc, operator]
    assert (moved.status, moved.raw_headers) == (307, [(b"Location", b"/rooms/lobby")])  # type: ignore[union-attr]
    page = pages["/rooms/{room}"](fastws.Request(target="/rooms/blue"))  # type: ignore[misc, operator]
    assert b"<h1" in page.body  # type: ignore[union-attr]


@asynccontextmanager
async def two_workers() -> AsyncIterator[tuple[Rooms, Rooms, Client, Client, Client]]:
    """Ann opens a room at one worker; Bob is in it at both."""
    one, two = Rooms(PAGES), Rooms(PAGES)
    async with (
        memory_broker(one.hub, two.hub),
        pair(one.routes, FEED) as first,
        pair(two.routes, FEED) as second,
        pair(one.routes, FEED) as third,
    ):
        clients = Client(first), Client(second), Client(third)
        for client, name in zip(clients, ("ann", "bob", "bob"), strict=True):
            await client.say(auth=f"{name:_<16} {name}")
            for part in ("/rules", "/muted", ""):
                await client.say(sub=TOPIC + part)
                await client.until("live")
        yield one, two, *clients


async def test_slow_mode_and_a_mute_hold_at_each_worker() -> None:
    async with two_workers() as (_, two, ann, bob, again):
        await ann.say(pub=f"{TOPIC}/rules", k="slow", d=60, id=1)
        await ann.until("ack")
        await bob.say(pub=TOPIC, d={"text": "rude"}, once="abc", id=1)
        assert not (await bob.until("ack"))["ack"]["dup"]
        person = (await ann.until("u"))["u"].partition("#")[2]
        assert await again.error(pub=TOPIC, d={"text": "more"}, once="def") == "too_fast"
        await again.say(pub=TOPIC, d={"text": "rude"}, once="abc", id=1)
        assert (await again.until("ack"))["ack"]["dup"]
        await ann.say(pub=f"{TOPIC}/muted", k=person, d=True, id=2)
        await ann.until("ack")
        assert person in await two.hub.snapshot(f"{TOPIC}/muted")
        for client in (bob, again):
            assert await client.error(pub=TOPIC, d={"text": "no"}) == "muted"


async def test_two_workers() -> None:
    async with two_workers() as (one, two, ann, bob, _):
        await until(lambda: (one.hub.count(TOPIC), two.hub.count(TOPIC)) == (2, 1), "all listen")
        assert await bob.error(pub=f"{TOPIC}/rules", k="slow", d=5) == "forbidden"
        await ann.say(pub=TOPIC, d={"text": "hello"})
        assert (await bob.until("d"))["d"]["text"] == "hello"
        assert json.loads((await two.hub.snapshot(f"{TOPIC}/rules"))["owner"])
