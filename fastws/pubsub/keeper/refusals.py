"""What becomes of those who listen to a topic that the broker refuses: nobody waits for ever.

A client of a feed is told ``unavailable`` for this topic, whose subscription ends; it may ask again. A
follower is brought an :class:`fastws.Ended`. Any other WebSocket is told a gap of which nobody knows how much
is missing (``"broker"``), once, and stays: it listens again when the broker takes the topic. Where its
handler has no ``on_gap`` it is closed, unless the topic's policy is ``"drop_oldest"``.
"""

from __future__ import annotations

from typing import Any

from fastws.config import SlowConsumerPolicy
from fastws.pubsub.follower import Follower
from fastws.pubsub.keeper.shared_topic import SharedPart

__all__ = ["UNAVAILABLE", "tell_refused"]

#: Why a subscription ends.
UNAVAILABLE = "unavailable"


def tell_refused(topic: SharedPart) -> None:
    """Tell all who listen to a topic, or wait for it, that nothing of it comes now."""
    for follower in list(topic.followers):
        if isinstance(follower, Follower):  # else it is a lane's, whose clients are told by themselves
            follower.end_topic(topic, UNAVAILABLE)
    for client in [*_clients_of(topic), *([] if topic.view is None else _clients_of(topic.view))]:
        tell = getattr(client.ws, "tell_refused", None)
        is_feed = tell is not None and tell(topic.name)
        if not is_feed and client not in topic.told_refused:
            topic.told_refused.add(client)
            is_told = topic.tell_gap(client, None, "broker")
            if not is_told and client.policy_of(topic) is not SlowConsumerPolicy.DROP_OLDEST:
                client.outbox.evict()
    topic.fail_arrivals()


def _clients_of(channel: Any) -> list[Any]:
    paced = channel.gate.lane.cursors if channel.paced() else ()
    return [*channel.subscribers, *channel.behind, *paced]
