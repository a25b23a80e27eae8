"""What topics publish, in the outbox of one subscriber: its order, and how it is joined."""

from __future__ import annotations

from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import BYE, Peer, text


class TestTopics:
    """What topics published in a turn takes its place among what was said to this client alone."""

    def test_a_direct_send_is_settled_behind_what_was_published_before(
        self, loop: ManualLoop, turn: Turn
    ) -> None:
        peer, hub = Peer(loop, turn), Hub()
        for topic in ("t", "u", "quiet"):
            hub.subscribe(peer, topic)
        hub.publish("t", "1")
        peer.outbox.push(text("2"))
        peer.outbox.push(text("3"))
        hub.publish("u", "4")
        hub.publish("t", "5")
        hub.publish("t", "6")
        peer.outbox.push_fragment(text("7"), first=True, fin=True)
        hub.publish("u", "8")
        peer.outbox.push_last(BYE)
        loop.settle()
        assert [one.payload[-1:] for one in peer.frames()] == [b"%d" % n for n in range(1, 9)] + [b"e"]
        assert len(peer.transport.writes) == 1
        assert b"" not in peer.transport.writes

    def test_alone_in_its_turn(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = Peer(loop, turn), Hub()
        hub.subscribe(peer, "t")
        hub.publish("t", "1")
        hub.publish("t", "2")
        loop.settle()
        assert peer.transport.writes == [text("1") + text("2")]
        assert (peer.outbox.sent_messages, peer.outbox.sent_bytes) == (2, 6)

    def test_a_client_that_shares_no_bytes(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = Peer(loop, turn), Hub()
        peer.outbox.frame_variant = -1
        hub.topic("m", merge="+")
        hub.subscribe(peer, "m")
        hub.publish("m", "a")
        hub.publish("m", "b")
        loop.settle()
        assert [(one.text, one.masked) for one in peer.frames()] == [("a+b", True)]
        peer.stall()
        for message in "cd":
            hub.publish("m", message)
            loop.settle()
        peer.transport.take()
        assert [one.text for one in peer.frames()] == ["stalls", "c+d"]

    def test_what_waits_merges_again(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = Peer(loop, turn), Hub()
        hub.topic("m", merge="+")
        hub.topic("n", merge="-")
        for topic in ("m", "n", "plain"):
            hub.subscribe(peer, topic)
        peer.stall()
        for topic, message in zip("mmnnmm", "abcdef", strict=True):
            hub.publish(topic, message)
            loop.settle()
        peer.outbox.push(text("own"))
        for message in "gh":
            hub.publish("plain", message)
            loop.settle()
        hub.publish("m", "i")
        loop.settle()
        assert peer.outbox.queued == 10
        peer.transport.take()
        assert peer.texts() == ["stalls", "a+b", "c-d", "e+f", "own", "g", "h", "i"]
        assert (peer.outbox.sent_messages, peer.outbox.queue_bytes) == (11, 0)


class TestIdle:
    def test_who_may_be_given_shared_bytes(self, loop: ManualLoop, turn: Turn) -> None:
        assert Peer(loop, turn).outbox.is_idle()
        pending, fragmenting, closed, own, refused, closing = (Peer(loop, turn) for _ in range(6))
        pending.outbox.push(text("x"))
        fragmenting.outbox.fragmenting = True
        closed.outbox.is_open = False
        own.outbox.frame_variant = -1
        refused.stall()
        closing.transport.close()
        busy = (pending, fragmenting, closed, own, refused, closing)
        assert not any(peer.outbox.is_idle() for peer in busy)
        loop.settle()
