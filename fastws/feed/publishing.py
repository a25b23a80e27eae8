"""What a client publishes: asked for, then offered to the hub."""

from __future__ import annotations

import logging
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.feed.access import FeedClient, FeedError, Publication, User
from fastws.feed.commands import Pub
from fastws.feed.hooks import ask, nonsense
from fastws.feed.settings import FeedSettings
from fastws.feed.strict_json import members
from fastws.pubsub.hub_keyed import REMOVAL
from fastws.pubsub.keys import KeysFull
from fastws.pubsub.notes import note_of
from fastws.pubsub.patterns import check_name

__all__ = ["publish"]

log = logging.getLogger("fastws.error")


async def publish(
    settings: FeedSettings, line: Any, client: FeedClient, command: Pub
) -> tuple[str | None, bool]:
    """Publish what a client wants; return its position, and whether it had been published before.

    ``line`` is where the client gets its own message, where that is left out of a flood.

    Raises :class:`FeedError` for what is not published.
    """
    try:
        check_name(command.topic)
    except ValueError as error:
        raise FeedError("bad_request", str(error)) from None
    given = Publication(
        command.topic, command.source, command.data, command.key, command.remove, command.once
    )
    return await _offer(settings, line, client, await _allowed(settings, client, given))


async def _allowed(settings: FeedSettings, client: FeedClient, given: Publication) -> Publication:
    """Return what ``may_publish`` lets the client publish."""
    hook = settings.may_publish
    answer = False if hook is None else await ask(hook, client, given)
    if answer is True:
        return given
    if answer is False or answer is None:
        raise FeedError("forbidden", "this client may not publish here")
    if not (isinstance(answer, Publication) and (answer is given or _is_sound(answer, given.topic))):
        assert hook is not None
        raise nonsense(hook, answer, "a bool or a fastws.Publication that can be published")
    return answer


def _is_sound(changed: Publication, checked_topic: str) -> bool:
    """True for a publication of the application that clients can be sent."""
    try:
        if changed.topic != checked_topic:
            check_name(changed.topic)
        # '1,"user":"bob"' would be members of the message.
        may_be_more = changed.source is not None and not changed._is_ours
        if may_be_more and len(members(f'{{"d":{changed.source}}}')) != 1:
            return False
    except (ValueError, TypeError, AttributeError):
        return False
    is_binary = isinstance(changed.data, bytes)
    is_removal = changed.remove and changed.key is not None
    return is_binary + is_removal + (changed.source is not None) == 1


async def _offer(
    settings: FeedSettings, line: Any, client: FeedClient, publication: Publication
) -> tuple[str | None, bool]:
    is_keyed = settings.hub._is_keyed(publication.topic)
    if is_keyed and publication.key is None:
        raise FeedError("bad_request", "this topic is keyed: say whose value it is, by a key k")
    if not is_keyed and publication.key is not None:
        raise FeedError("bad_request", "this topic has no keys")
    user = client.user
    note = note_of(None if user is None else user.public_id)
    message: Any = publication.data if publication.source is None else publication.source
    if publication.remove:
        message = REMOVAL
    once = None if publication.once is None else _once_of(user, publication.once)
    try:
        published = await settings.hub._publish_noted(
            publication.topic, message, publication.key, note, once, line
        )
    except (ValueError, TypeError) as error:
        code = "limit" if isinstance(error.__context__, KeysFull) else "bad_request"
        raise FeedError(code, str(error)) from error
    except (BrokerUnavailable, TimeoutError) as error:
        log.error("a client's message has no position: %s", error)
        raise FeedError("unavailable", "it may not have been published", 1) from error
    return (None, False) if published is None else (str(published.at), published.duplicate)


def _once_of(user: User | None, once: str) -> str:
    """Return an id that nobody else can take: no other user, and not the application."""
    name = "" if user is None else user.id
    return f"{chr(len(name.encode()))}{name}{once}"
