"""Bullet comments: of a flood each client is shown a few a second and its own, and is told of the rest."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from fastws.apps import bullets
from fastws.apps.bullets import SHOWN_PER_SECOND, TOPIC, Bullets
from fastws.testing import Clock, until
from tests.apps.clients import PAGES, Client, site

FEED = f"/feeds/bullets?topic={TOPIC}"


async def live(client: Client) -> Client:
    await client.until("live")
    return client


async def said(client: Client, last: str) -> tuple[list[dict[str, Any]], int]:
    """Take what comes until a comment with this text; return the comments, and how many were left out."""
    comments: list[dict[str, Any]] = []
    missed = 0
    while not comments or comments[-1]["d"].get("text") != last:
        message = await client.next()
        if "d" in message:
            comments.append(message)
        missed += message.get("gap", {"missed": 0})["missed"]
    return comments, missed


async def test_a_flood_is_thirty_a_second_and_the_own() -> None:
    """Forty clients say five comments each within a second; of more, as many would be shown."""
    clock, app = Clock(), Bullets(PAGES)
    async with site(app.routes, FEED, clock) as made:
        viewer = await live(made.first)
        clients = [await live(await made.client()) for _ in range(40)]
        await clock.advance(2)
        for n in range(5):
            for number, client in enumerate(clients):
                await client.say(pub=TOPIC, d={"text": f"{number} {n}", "colour": 1})
            await clock.advance(0.2)
        await clock.advance(2)
        app.hub.publish(TOPIC, json={"text": "end"})
        comments, missed = await said(viewer, "end")
        assert len(comments) - 1 <= SHOWN_PER_SECOND + 5
        assert len(comments) - 1 + missed == 200
        comments, missed = await said(clients[0], "end")
        own = [comment["d"]["text"] for comment in comments if comment["d"]["text"].startswith("0 ")]
        assert own == [f"0 {n}" for n in range(5)]
        assert len(comments) - 1 + missed == 200
        assert len({comment["u"] for comment in comments if comment["d"]["text"].startswith("0 ")}) == 1


async def test_each_may_say_five_a_second() -> None:
    clock, app = Clock(), Bullets(PAGES)
    async with site(app.routes, FEED, clock) as made:
        client, other = await live(made.first), await live(await made.client())
        for n in range(5):
            await client.say(pub=TOPIC, d={"text": "x", "colour": 0}, id=n)
            await client.until("ack")
        assert await client.error(pub=TOPIC, d={"text": "x", "colour": 0}) == "too_fast"
        await other.say(pub=TOPIC, d={"text": "x", "colour": 0}, id=1)
        await other.until("ack")
        await clock.advance(0.21)
        await client.say(pub=TOPIC, d={"text": "x", "colour": 0}, id=1)
        await client.until("ack")


@pytest.mark.parametrize(
    ("topic", "data", "code"),
    [
        ("other", {"text": "x", "colour": 0}, "forbidden"),
        (TOPIC, {"text": "x" * 81, "colour": 0}, "bad_request"),
        (TOPIC, {"text": "", "colour": 0}, "bad_request"),
        (TOPIC, {"text": "x"}, "bad_request"),
        (TOPIC, {"text": "x", "colour": 6}, "bad_request"),
        (TOPIC, {"text": "x", "colour": -1}, "bad_request"),
        (TOPIC, {"story": "forged"}, "bad_request"),
        (TOPIC, "x", "bad_request"),
    ],
)
async def test_what_nobody_may_say(topic: str, data: Any, code: str) -> None:
    async with site(Bullets(PAGES).routes, FEED) as made:
        client = await live(made.first)
        assert await client.error(pub=topic, d=data) == code
        assert await client.error(sub="other") == "limit"


async def test_what_is_relayed_is_text_and_colour_alone() -> None:
    async with site(Bullets(PAGES).routes, FEED) as made:
        client = await live(made.first)
        await client.say(pub=TOPIC, d={"text": " a \n b ", "colour": 5, "story": "forged"})
        assert (await client.until("d"))["d"] == {"text": "a b", "colour": 5}


async def test_the_story_and_the_robots(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, app = Clock(), Bullets(PAGES, crowd=100)
    async with site(app.routes, "/feeds/bullets", clock) as made:
        playing = asyncio.create_task(app.perform(None))
        await clock.advance(2)
        await made.first.say(sub=TOPIC)
        await until(lambda: app.hub.count(TOPIC), "it listens")
        for _ in range(100):
            await clock.advance(0.1)
        app.hub.publish(TOPIC, json={"story": "end"})
        comments: list[dict[str, Any]] = []
        while not comments or comments[-1].get("story") != "end":
            comments.append((await made.first.until("d"))["d"])
        lines = [comment["story"] for comment in comments if "story" in comment]
        assert lines == [*bullets.LINES[:2], "end"]
        assert 200 < len(comments) < 400
        assert all(set(comment) == {"text", "colour"} for comment in comments if "story" not in comment)

        async def silent(topic: str) -> int:
            raise TimeoutError

        monkeypatch.setattr(app.hub, "total", silent)
        await app.wait_for_viewers()
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
