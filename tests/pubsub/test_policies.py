"""A policy for one client, in place of its topic's."""

from __future__ import annotations

import pytest

from fastws.config import SlowConsumerPolicy
from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer


def flood(hub: Hub, loop: ManualLoop, *peers: Peer) -> None:
    """Publish ten messages while nobody reads; four may wait."""
    for peer in peers:
        peer.stall()
    for number in range(10):
        hub.publish("t", f"{number}")
        loop.settle()


@pytest.mark.parametrize("topics", SlowConsumerPolicy)
def test_each_client_has_its_own(loop: ManualLoop, turn: Turn, topics: SlowConsumerPolicy) -> None:
    hub = Hub()
    hub.topic("t", policy=topics)
    peers = {policy: Peer(loop, turn, limits=(4, 1000)) for policy in [*SlowConsumerPolicy, None]}
    for policy, peer in peers.items():
        hub.subscribe(peer, "t", policy=policy and policy.value)
    flood(hub, loop, *peers.values())
    left = {SlowConsumerPolicy.DROP_OLDEST: list("6789"), SlowConsumerPolicy.DROP_NEWEST: list("0123")}
    for policy, peer in peers.items():
        policy = policy or topics
        peer.transport.take()
        loop.settle()
        if policy is SlowConsumerPolicy.EVICT:
            assert peer.evicted == ["too slow"]
        else:
            assert (peer.evicted, peer.texts()) == ([], ["stalls", *left[policy]])


def test_it_lasts_as_long_as_the_subscription(loop: ManualLoop, turn: Turn) -> None:
    hub = Hub()
    kept, left = Peer(loop, turn, limits=(4, 1000)), Peer(loop, turn, limits=(4, 1000))
    for peer in (kept, left):
        hub.subscribe(peer, "t", policy="drop_oldest")
        hub.subscribe(peer, "t")  # twice does no harm
        hub.subscribe(peer, "u")
    hub.unsubscribe(left, "t")
    hub.subscribe(left, "t")
    flood(hub, loop, kept, left)
    assert (kept.evicted, left.evicted) == ([], ["too slow"])


def test_another_topic_has_not_got_it(loop: ManualLoop, turn: Turn) -> None:
    hub, peer = Hub(), Peer(loop, turn, limits=(4, 1000))
    hub.subscribe(peer, "u", policy="drop_oldest")
    hub.subscribe(peer, "t")
    flood(hub, loop, peer)
    assert peer.evicted == ["too slow"]


@pytest.mark.parametrize(("topics", "own"), [("evict", "drop_oldest"), ("drop_oldest", "evict")])
def test_with_a_history(loop: ManualLoop, turn: Turn, topics: str, own: str) -> None:
    hub = Hub()
    hub.topic("t", history=3, policy=topics)
    peers = {topics: Peer(loop, turn), own: Peer(loop, turn)}
    hub.subscribe(peers[topics], "t")
    hub.subscribe(peers[own], "t", policy=own)
    flood(hub, loop, *peers.values())
    for peer in peers.values():
        peer.transport.take()
        loop.settle()
    assert peers["evict"].evicted == ["too slow"]
    assert peers["drop_oldest"].texts() == ["stalls", "7", "8", "9"]


@pytest.mark.parametrize("topic", ["t", "kept", "keyed"])
def test_what_cannot_be(loop: ManualLoop, turn: Turn, topic: str) -> None:
    hub, peer = Hub(), Peer(loop, turn)
    hub.topic("kept", history=3)
    hub.topic("keyed", mode="keyed")
    with pytest.raises(ValueError, match="policy" if topic == "keyed" else "wait|drop"):
        hub.subscribe(peer, topic, policy="wait")
    if topic != "t":
        with pytest.raises(ValueError, match="policy="):
            hub.subscribe(peer, topic, policy="drop_newest")
    assert (list(hub.topics(peer)), hub.count(topic)) == ([], 0)
