"""What the shared topics of a hub share in one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.pubsub.classes import TopicMode
from fastws.pubsub.keeper.shared_keyed import SharedKeyedTopic
from fastws.pubsub.keeper.shared_topic import Copy, SharedPart, SharedTopic
from fastws.pubsub.patterns import check_name
from fastws.pubsub.sequencer import Sequencer

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.numbered import NumberedTopic
    from fastws.pubsub.ticks import Tickers
    from fastws.pubsub.topic import Topic

__all__ = ["SharedSequencer"]


class SharedSequencer(Sequencer):
    """Makes topics that the keeper numbers.

    Args:
        topics: Those of the hub.
        tickers: What releases changes of keyed topics.
        client: The way to the keeper.
        hub_name: The name of the hub.
    """

    __slots__ = ("_client", "_hub_name", "_is_closed")

    def __init__(self, topics: dict[str, Topic], tickers: Tickers, client: Any, hub_name: str) -> None:
        Sequencer.__init__(self, topics, tickers)
        self._client = client
        self._hub_name = hub_name
        self._is_closed = False
        client.want()

    def enter(self) -> None:
        """As for other topics. Raises ``RuntimeError`` after :meth:`close`, too."""
        if self._is_closed:
            raise RuntimeError("the hub is closed, so nobody numbers its messages: start it again")
        Sequencer.enter(self)

    def make(self, name: str, settings: TopicClass) -> NumberedTopic:
        """Return a new topic, of which nothing is known yet. Raises ``ValueError`` for a bad name."""
        check_name(name)
        self.enter()
        topic: SharedPart
        if settings.mode is TopicMode.KEYED:
            ticker = self._tickers.of(settings.every or 0.0)
            topic = SharedKeyedTopic(name, settings, self, ticker, self._client, self._hub_name)
        else:
            topic = SharedTopic(name, settings, self, self._client, self._hub_name)
        self._topics[topic.name] = topic
        self.rest(topic)
        return topic

    def rest(self, topic: NumberedTopic) -> None:
        """Nobody uses ``topic``: forget it when too many others come to rest."""
        assert isinstance(topic, SharedPart)
        if topic.copy is Copy.NONE and not topic.waiting:
            Sequencer.rest(self, topic)

    def _forget(self, topic: NumberedTopic) -> None:
        Sequencer._forget(self, topic)
        self._client.forget(topic)

    def open(self) -> None:
        """Use the keeper again: for what somebody listens to."""
        self._is_closed = False
        for topic in self._topics.values():
            if isinstance(topic, SharedPart) and topic.is_used():
                self._client.copies.follow(topic)

    def close(self) -> None:
        """End what follows, and use the keeper no more."""
        Sequencer.close(self)
        self._is_closed = True
        for topic in list(self._topics.values()):
            if isinstance(topic, SharedPart):
                topic.drop_copy()
                self._client.forget(topic)
