# cython: annotation_typing=False
"""The part of a hub that says who listens to its topics: at the same pace as all, behind, or at its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.registry import TopicRegistry
from fastws.pubsub.topic import Topic

__all__ = ["Audience"]


class Audience(TopicRegistry):
    """The second part of a :class:`fastws.Hub`."""

    def count(self, topic: str) -> int:
        """Return how many clients listen to ``topic`` in this process."""
        found = self._find(topic)
        return 0 if found is None else found.listeners()

    async def total(self, topic: str, *, timeout: float = 5.0) -> int:
        """Return how many clients listen to ``topic`` in all processes that share this hub: each is asked.

        Any number of tasks may ask at the same time.

        Raises:
            TimeoutError: A process has not answered within ``timeout`` seconds (default: 5).
        """
        here = self.count(topic)
        link = self._link
        if link is None:
            return here
        found: int = await link.total(topic, here, timeout)
        return found

    def topics(self, ws: Any) -> Iterable[str]:
        """Return the names of this hub's topics that ``ws`` listens to."""
        subscriber = ws.outbox.subscriptions
        if subscriber is None:
            return []
        listened: list[Topic] = [*subscriber.topics]
        if subscriber.cursors is not None:
            listened += subscriber.cursors.topics()
        return [topic.name for topic in listened if self._is_here(topic)]

    def _is_here(self, topic: Topic) -> bool:
        """True for a topic of this hub, and for the view of one."""
        found = self._topics.get(topic.name)
        if found is None:
            return False
        # A view is of a topic; a lane of either.
        source = getattr(topic, "source", topic)
        return source is found or (found.view is not None and source is found.view)

    def subscribers(self, topic: str) -> list[Any]:
        """Return who listens to ``topic`` now, as it was given to :meth:`subscribe`, in that order.

        Of a topic with a history, those that have not been sent everything yet come behind the others; then
        come the clients of feeds.
        """
        found = self._find(topic)
        if found is None:
            return []
        behind = found.behind if isinstance(found, NumberedTopic) else {}
        viewing = [] if found.view is None else found.view.clients()
        paced = [] if not found.paced() else found.gate.lane.cursors
        return [subscriber.ws for subscriber in [*found.subscribers, *behind, *paced, *viewing]]
