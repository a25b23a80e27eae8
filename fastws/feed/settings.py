"""What an application says about a feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastws.feed.access import Authenticate, MayPublish, MaySubscribe

__all__ = ["FeedSettings"]


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """The arguments of a :class:`fastws.Feed`, which says what each is."""

    #: A :class:`fastws.Hub`.
    hub: Any
    may_subscribe: MaySubscribe
    may_publish: MayPublish | None
    authenticate: Authenticate | None
    max_topics: int
    ping: float
