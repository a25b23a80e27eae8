"""How many bytes a client that joins is sent of what a topic keeps, as a feed counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.views import View

if TYPE_CHECKING:
    from fastws.pubsub.events import Position, Synced

__all__ = ["replay_size", "replay_size_of"]

#: What a feed writes around a message, beside the topic's name.
ENVELOPE_BYTES = 40


def replay_size(topic: Any, since: Position | None, recent: int, *, is_paced: bool) -> int:
    """Return it for a topic with a history, or a keyed one, of which everything is here.

    ``since`` and ``recent`` are as ``hub.subscribe`` has them. Who has a pace gets only the newest message of
    a stream.
    """
    topic.expire()
    if isinstance(topic, KeyedTopic):
        return _size_of_keys(topic, since)
    history = topic.history
    start = max(history.next - recent, history.first)
    if since is not None and since.epoch == topic.epoch and since.offset < history.next:
        start = max(since.offset + 1, history.first)
    if is_paced:
        start = max(start, history.next - 1)
    count: int = history.next - start
    if count <= 0:
        return 0
    size: int = history.size_from(start)
    return size + count * (ENVELOPE_BYTES + len(topic.name))


def replay_size_of(channel: Any, synced: Synced, subscriber: Any) -> int:
    """The same for a client that has begun, in a topic or its view: ``synced`` says where."""
    topic = channel.source if isinstance(channel, View) else channel
    is_paced = channel.paced() and subscriber in channel.gate.lane.cursors
    return replay_size(topic, None if synced.snapshot else synced.at, 0, is_paced=is_paced)


def _size_of_keys(topic: KeyedTopic, since: Position | None) -> int:
    keys = topic.keys
    if since is None or since.epoch != topic.epoch or since.offset > keys.last:
        return keys.size
    start = max(since.offset, keys.cleared)
    return keys.size if start < keys.floor else keys.size_after(start)
