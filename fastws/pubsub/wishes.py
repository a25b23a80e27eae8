"""What is wanted of a topic whose messages another process numbers, until it is known where that begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastws.config import check_number

if TYPE_CHECKING:
    from fastws.pubsub.events import Position
    from fastws.pubsub.pace import Pace

__all__ = ["AS_DECLARED", "Wish", "recent_asked"]

#: In place of how many of the last messages a client asks for: as many as its topic says.
AS_DECLARED = -1


def recent_asked(recent: int | None) -> int:
    """Return it as a number. Raises ``TypeError`` and ``ValueError`` for what is none."""
    if recent is None:
        return AS_DECLARED
    check_number("recent", recent, 0)
    return min(recent, 2**31)


class Wish(NamedTuple):
    """That of a client, or of a follower."""

    #: As ``hub.subscribe`` has them.
    since: Position | None = None
    recent: int = 0
    #: It has listened in another life of the topic, and goes on with all that there is in this one.
    is_again: bool = False
    #: How often it may be sent something; None: as often as there is something.
    pace: Pace | None = None
