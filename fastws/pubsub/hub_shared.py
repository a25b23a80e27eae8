# cython: annotation_typing=False
"""The part of a hub that is about topics which another process numbers (:mod:`fastws.pubsub.keeper`).

The methods are for the way to that process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub_history import HubHistory

if TYPE_CHECKING:
    from fastws.pubsub.events import Synced

__all__ = ["HubShared"]


class HubShared(HubHistory):
    """A part of a :class:`fastws.Hub`."""

    def _receive_numbered(self, topic: Any, frames: list[bytes], times: list[float] | None) -> None:
        """Take the next messages of a topic; ``times`` is when they came where that is not now."""
        subscribers = topic.subscribers
        for index, plain in enumerate(frames):
            if times is None:
                topic.keep(plain)
            else:
                topic.restore(plain, times[index])
            if subscribers:
                fan_out = self._fan_out
                assert fan_out is not None
                seq = fan_out.add(topic)
                topic.batch.append(Publication(topic, seq, None, plain))

    def _sync_waiting(self, topic: Any) -> None:
        """Let those that wait begin: what the topic keeps is here."""
        wishes, topic.wishes = topic.wishes, {}
        for who, wish in wishes.items():
            self._begin_at(topic, who, topic.sync_waiting(wish))

    def _restart(self, topic: Any, synced: Synced) -> None:
        """Let all that listen go on there: the topic begins another life."""
        for subscriber in list(topic.subscribers):
            if topic.batch and subscriber in topic.subscribers:
                subscriber.take_published()
        for who in [*topic.subscribers, *topic.behind, *topic.followers]:
            if who not in topic.wishes:
                self._begin_at(topic, who, synced)

    def _begin_at(self, topic: Any, who: Any, synced: Synced) -> None:
        if isinstance(who, Follower):
            who.sync(topic, synced)
        else:
            fan_out = self._fan_out
            assert fan_out is not None
            puller_of(fan_out).begin(who, topic, synced)
