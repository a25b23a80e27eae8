"""Who may listen to what, and from where on."""

from __future__ import annotations

import time

from fastws.feed.access import FeedClient, FeedError, Grant, User
from fastws.feed.commands import Sub
from fastws.feed.hooks import ask, nonsense
from fastws.feed.settings import FeedSettings
from fastws.pubsub.events import Position
from fastws.pubsub.pace import least
from fastws.pubsub.patterns import check_name
from fastws.pubsub.presence.shown import Shown, info_source
from fastws.pubsub.wishes import AS_DECLARED

__all__ = ["granted", "is_over", "recent_of", "replay_of", "seen_as", "start_of"]


def start_of(sub: Sub) -> Position | None:
    """Return the position from which a client goes on. Raises :class:`FeedError` for what is none."""
    try:
        check_name(sub.topic)
        return None if sub.since is None else Position.parse(sub.since)
    except ValueError as error:
        raise FeedError("bad_request", str(error)) from None


def recent_of(sub: Sub) -> int:
    """Return how many of the last messages a client begins with, as ``hub.subscribe`` counts them."""
    return AS_DECLARED if sub.recent is None else sub.recent


def replay_of(settings: FeedSettings, sub: Sub, grant: Grant) -> int | None:
    """Return about how many bytes of what a topic keeps a client is sent that joins; None: not known yet."""
    rate = least(sub.rate, grant.max_rate)
    size: int | None = settings.hub._replay_size(sub.topic, start_of(sub), recent_of(sub), rate)
    return size


async def granted(settings: FeedSettings, client: FeedClient, topic: str) -> Grant:
    """Return what ``may_subscribe`` allows, which is not asked for topics of the user.

    Raises :class:`FeedError` where it does not.
    """
    if client.user is not None and topic in client.user.topics:
        return Grant()
    hook = settings.may_subscribe
    answer = await ask(hook, client, topic)
    if answer is True:
        return Grant()
    if answer is False or answer is None or (isinstance(answer, Grant) and is_over(answer)):
        raise FeedError("forbidden", "this topic is not for this client")
    if not isinstance(answer, Grant):
        raise nonsense(hook, answer, "a bool or a fastws.Grant")
    return answer


def seen_as(client: FeedClient, grant: Grant) -> Shown | None:
    """Return as whom others see a client in a topic; None: as nobody."""
    if not grant.visible:
        return None
    user = client.user
    if user is None:
        return Shown(client.id, info_source(grant.info))
    assert user.public_id is not None
    return Shown(user.public_id, info_source(user.info if grant.info is None else grant.info))


def is_over(given: Grant | User) -> bool:
    """True when what was given has expired."""
    return given.expires_at is not None and given.expires_at <= time.time()
