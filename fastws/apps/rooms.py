"""Chat rooms: names, history, who is here, who is typing, slow mode and moderation."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import unicodedata
from dataclasses import replace
from typing import Any

import fastws

__all__ = ["Rooms", "application"]

MOST_ROOMS, MOST_LETTERS, MOST_NAME = 200, 500, 24
#: The name of a room, and which of its topics it is.
TOPIC = re.compile(r"rooms/([a-z0-9-]{1,32})(/rules|/muted|/typing)?")
SLOW = ("0", "5", "15", "60")  # a moderator's choices: everybody may say one thing in so many seconds
UNSEEN = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class Rooms:
    """Everybody has a name and a secret, which the page keeps. Who opens a room moderates it.

    ``pages`` is the folder with ``rooms.html``.
    """

    def __init__(self, pages: fastws.Static) -> None:
        self.hub = fastws.Hub("fastws.rooms")
        self.hub.topic("rooms/*", history=100, history_bytes=2**16, ttl=3600, presence="list")
        self.hub.topic("rooms/*/rules", mode="keyed", max_keys=2)
        self.hub.topic("rooms/*/muted", mode="keyed", max_keys=100, key_ttl=600)
        self.hub.topic("rooms/*/typing", mode="keyed", max_keys=100, key_ttl=4)
        for slow in SLOW:  # the ``once`` of what each person said last, for so long
            self.hub.topic(f"rooms/*/said-{slow}", mode="keyed", key_ttl=int(slow) or 60)
        self.open: set[str] = set()  # rooms that somebody of this process has entered
        self.opening = fastws.RateLimit("10/m")
        self.talking, self.typing = fastws.RateLimit("2/s", burst=5), fastws.RateLimit("1/s", burst=3)
        feed = fastws.Feed(
            self.hub,
            may_subscribe=self.may_subscribe,
            may_publish=self.may_publish,
            authenticate=self.authenticate,
        )
        self.routes = [
            fastws.Route("/rooms", http=lambda _: fastws.Response(307, headers={"Location": "/rooms/lobby"})),
            fastws.Route("/rooms/{room}", http=pages.page("rooms.html")),
            fastws.Route("/feeds/rooms", feed, limits={"max_message_size": 4096}),
        ]

    def authenticate(self, request: Any, token: str | None) -> fastws.User | None:
        """A token is a secret and a name. The same secret is the same person, whatever the name."""
        if token is None:
            return None
        secret, _, name = token.partition(" ")
        name = " ".join(UNSEEN.sub("", unicodedata.normalize("NFKC", name)).split())
        if len(secret) < 16 or not 1 <= len(name) <= MOST_NAME or not name.isprintable():
            raise fastws.FeedError("bad_request", f"a name has 1 to {MOST_NAME} letters")
        person = base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())[:16].decode()
        return fastws.User(person, public_id=f"{name}#{person}")

    async def may_subscribe(self, client: fastws.FeedClient, topic: str) -> bool:
        found = TOPIC.fullmatch(topic)
        if found is None or client.user is None:
            return False
        if found[1] not in self.open:
            await self.make_place(client)
            self.open.add(found[1])
        if found[2] == "/rules" and "owner" not in await self.hub.snapshot(topic):
            self.hub.publish(topic, json=client.user.id, key="owner")
        return True

    async def make_place(self, client: fastws.FeedClient) -> None:
        """Forget a room that nobody is in, where there are too many."""
        self.count(self.opening, client.request)
        if len(self.open) < MOST_ROOMS:
            return
        room = next((each for each in self.open if not self.hub.count(f"rooms/{each}")), None)
        if room is None:
            raise fastws.FeedError("limit", "there are too many rooms", retry_after=60)
        self.open.discard(room)
        if not await self.hub.total(f"rooms/{room}"):
            self.hub.clear(f"rooms/{room}/rules")

    async def may_publish(
        self, client: fastws.FeedClient, publication: fastws.Publication
    ) -> bool | fastws.Publication:
        found = TOPIC.fullmatch(publication.topic)
        if found is None or client.user is None or publication.topic not in client.topics:
            return False
        topic, person = f"rooms/{found[1]}", client.user.id
        rules = await self.hub.snapshot(f"{topic}/rules")
        moderates = rules.get("owner") == json.dumps(person)
        if found[2] in ("/rules", "/muted"):
            return moderates and is_rule(found[2], publication)
        if person in await self.hub.snapshot(f"{topic}/muted"):
            raise fastws.FeedError("muted", "you are muted in this room")
        if found[2] == "/typing":
            if not publication.remove:
                self.count(self.typing, person)
            return replace(publication, key=client.user.public_id, source=None if publication.remove else "1")
        said = message_of(publication.value)
        if "delete" in said and not moderates:
            return False
        await self.take_turn(topic, "0" if moderates else rules.get("slow", "0"), person, publication.once)
        return publication.with_value({**said, "time": round(time.time())})

    async def take_turn(self, topic: str, slow: str, person: str, once: str | None) -> None:
        """Refuse who talks too fast. A page that got no answer says the same again: that does not count."""
        last = (await self.hub.snapshot(said := f"{topic}/said-{slow}")).get(person)
        if last is not None and once is not None and json.loads(last) == once:
            return
        self.count(self.talking, person)
        if last is not None and slow != "0":
            raise fastws.FeedError("too_fast", f"one message in {slow} s", retry_after=int(slow))
        await self.hub.publish_confirmed(said, json=once, key=person)

    def count(self, limit: fastws.RateLimit, who: object) -> None:
        if not limit.allow(who):
            raise fastws.FeedError("too_fast", "wait a moment", retry_after=limit.retry_after(who))


def message_of(value: Any) -> dict[str, str]:
    """Return what a client said, or raise."""
    match value:
        case {"text": str(text)} if 1 <= len(text := " ".join(text.split())) <= MOST_LETTERS:
            return {"text": text}
        case {"delete": str(at)} if len(at) <= 80:
            return {"delete": at}
    raise fastws.FeedError("bad_request", f"a message has 1 to {MOST_LETTERS} letters")


def is_rule(part: str, publication: fastws.Publication) -> bool:
    """True for what a moderator may set: a slow mode, or who is muted."""
    if part == "/muted":
        return len(publication.key or "") == 16 and publication.source in (None, "true")
    return publication.key == "slow" and publication.source in SLOW


def application(folder: str = "site") -> list[fastws.Route | fastws.Static]:
    """Return the rooms alone: ``rooms.html`` in a folder, and its scripts from fastws."""
    return [*Rooms(fastws.Static("/site", folder)).routes, fastws.Static.packaged("/assets")]


if __name__ == "__main__":
    fastws.run(application())
