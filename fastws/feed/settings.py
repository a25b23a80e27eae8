"""What an application says about a feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastws.feed.access import Authenticate, MayPublish, MaySubscribe
from fastws.feed.replay_budget import ReplayBudget

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
    #: None: as much is replayed as is asked for.
    replays: ReplayBudget | None = None
