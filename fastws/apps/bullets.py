"""Bullet comments: what everybody says flies over a picture. Of a flood all see a few, and each their own."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any

import fastws

__all__ = ["Bullets", "application"]

TOPIC, SHOWN_PER_SECOND, MOST_LETTERS, COLOURS = "bullets", 30, 80, 6
#: A line of the story comes every so many seconds; robots talk so often.
LINE_SECONDS, TICKS_PER_SECOND = 8, 10
#: How the JSON of a line begins. It is shown to all, whatever is left out.
STORY = '{"story":'
LINES = (
    "The last ferry leaves the harbour.",
    "Nobody on board has asked where it goes.",
    "Behind the islands it is morning already.",
    "The sea says what everybody says.",
)
WORDS = (
    "so calm",
    "wow",
    "who draws this?",
    "the light!",
    "again!",
    "hello from the train",
    "front row",
    "+1",
)


class Bullets:
    """One topic for all comments.

    Args:
        pages: The folder with ``bullets.html``.
        crowd: How many comments a second robots say while somebody looks. Default 0: only people talk.
    """

    def __init__(self, pages: fastws.Static, crowd: int = 0) -> None:
        self.crowd = crowd
        self.hub = fastws.Hub("fastws.bullets")
        self.hub.topic(TOPIC, sample=SHOWN_PER_SECOND, keep=lambda message: str(message).startswith(STORY))
        self.talking = fastws.RateLimit("5/s", key=lambda client: client.id)
        feed = fastws.Feed(
            self.hub,
            may_subscribe=lambda client, topic: topic == TOPIC,
            may_publish=self.may_publish,
            # Everybody has a name for their own comments, which they get though it is left out for others.
            authenticate=lambda request, token: fastws.User(secrets.token_urlsafe(9)),
            max_topics=1,
        )
        self.routes = [
            fastws.Route("/bullets", http=pages.page("bullets.html")),
            fastws.Route("/feeds/bullets", feed, limits={"max_message_size": 1024}),
        ]

    def may_publish(
        self, client: fastws.FeedClient, publication: fastws.Publication
    ) -> bool | fastws.Publication:
        if publication.topic != TOPIC:
            return False
        if not self.talking.allow(client):
            raise fastws.FeedError("too_fast", "five comments a second", self.talking.retry_after(client))
        match publication.value:
            case {"text": str(text), "colour": int(colour)} if colour in range(COLOURS):
                if 1 <= len(text := " ".join(text.split())) <= MOST_LETTERS:
                    return publication.with_value({"text": text, "colour": colour})
        raise fastws.FeedError("bad_request", f"a comment has 1 to {MOST_LETTERS} letters, and a colour")

    async def perform(self, server: Any) -> None:
        """Tell the story, and let the robots talk: the background task of one worker."""
        ticks = 0
        while True:
            if ticks % TICKS_PER_SECOND == 0:
                await self.wait_for_viewers()
            if ticks % (LINE_SECONDS * TICKS_PER_SECOND) == 0:
                line = LINES[ticks // (LINE_SECONDS * TICKS_PER_SECOND) % len(LINES)]
                self.hub.publish(TOPIC, json={"story": line})
            # As many of the crowd as are due, rounded at random.
            for _ in range(int(self.crowd / TICKS_PER_SECOND + random.random())):
                comment = {"text": random.choice(WORDS), "colour": random.randrange(COLOURS)}
                self.hub.publish(TOPIC, json=comment)
            ticks += 1
            await asyncio.sleep(1 / TICKS_PER_SECOND)

    async def wait_for_viewers(self) -> None:
        try:
            while not await self.hub.total(TOPIC):
                await asyncio.sleep(0.5)
        except TimeoutError:  # of a worker that has just ended: somebody may look
            pass


def application(folder: str = "site") -> fastws.Application:
    """Return the comments alone: ``bullets.html`` in a folder, and its scripts from fastws."""
    bullets = Bullets(fastws.Static("/site", folder), crowd=40)
    return fastws.Application(
        [*bullets.routes, fastws.Static.packaged("/assets")], background=[bullets.perform]
    )


if __name__ == "__main__":
    fastws.run(application())
