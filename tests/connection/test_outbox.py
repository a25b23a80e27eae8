"""One outbox: order, verdicts, limits and policies; the socket takes what the test lets it."""

from __future__ import annotations

import pytest

from fastws.config import SlowConsumerPolicy
from fastws.connection.flow import SendStatus
from fastws.connection.outbox import Outbox
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode, encode_close
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.kit import ManualLoop
from tests.kit.outboxes import BYE, Peer, small, text


class TestSlow:
    def test_waits_behind_what_was_refused(self, loop: ManualLoop, peer: Peer) -> None:
        peer.stall()
        assert peer.outbox.push(text("a")) is SendStatus.QUEUED
        assert peer.outbox.push(text("b")) is SendStatus.QUEUED
        assert peer.outbox.queued == 2
        assert peer.outbox.buffered_amount == len(text("stalls")) - 1 + 2 * len(text("a"))
        loop.settle()
        peer.transport.take()
        assert peer.texts() == ["stalls", "a", "b"]
        assert peer.drains == 1
        assert (peer.outbox.queued, peer.outbox.queue_bytes, peer.outbox.buffered_amount) == (0, 0, 0)
        assert peer.outbox.push(text("c")) is SendStatus.SENT
        loop.settle()
        assert peer.texts() == ["c"]
        assert peer.outbox.sent_messages == 4
        assert peer.outbox.sent_bytes == len(text("stalls") + text("a") * 3)

    def test_both_limits_at_their_edges(self, loop: ManualLoop, turn: Turn) -> None:
        peer = small(loop, turn, messages=3)
        assert [peer.outbox.push(text("x")) for _ in range(4)] == [SendStatus.QUEUED] * 3 + [
            SendStatus.DROPPED
        ]
        assert peer.outbox.dropped == 1
        peer = small(loop, turn, size=30)
        assert peer.outbox.push(text("x" * 18)) is SendStatus.QUEUED
        assert peer.outbox.push(text("x" * 8)) is SendStatus.QUEUED
        assert peer.outbox.push(text("")) is SendStatus.DROPPED
        assert peer.outbox.dropped == 1

    def test_one_message_is_always_admitted(self, loop: ManualLoop, turn: Turn) -> None:
        peer = small(loop, turn, size=30)
        assert peer.outbox.push(text("x" * 500)) is SendStatus.QUEUED
        assert peer.outbox.push(text("y")) is SendStatus.DROPPED

    def test_over_the_limits_when_the_sender_waits(self, loop: ManualLoop, turn: Turn) -> None:
        peer = small(loop, turn, messages=1)
        assert [peer.outbox.push_over_limits(text(m)) for m in "abc"] == [SendStatus.QUEUED] * 3
        peer.transport.take()
        assert peer.texts() == ["stalls", "a", "b", "c"]
        assert peer.outbox.dropped == 0

    def test_what_waits_leaves_in_steps_when_the_socket_refuses_again(
        self, loop: ManualLoop, turn: Turn
    ) -> None:
        peer = Peer(loop, turn, limits=(100, 10_000_000))
        peer.stall()
        for number in range(10):
            peer.outbox.push(text(str(number) * 100_000))
        before = len(peer.transport.writes)
        peer.transport.take(300_000)
        assert peer.outbox.blocked
        assert peer.outbox.queued == 7
        assert len(peer.transport.writes) == before + 1
        peer.transport.take()
        assert [one.text[0] for one in peer.frames()[1:]] == list("0123456789")
        assert peer.drains == 2

    def test_discard(self, loop: ManualLoop, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push(text("a"))
        peer.outbox.push_urgent(PING, encode(PING, b""))
        peer.outbox.push_last(BYE)
        peer.transport.lose()
        loop.settle()
        assert (peer.outbox.queued, peer.outbox.queue_bytes, peer.outbox.is_open) == (0, 0, False)
        assert peer.outbox.push(text("b")) is SendStatus.CLOSED


class TestUrgent:
    def test_overtakes_what_waits(self, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push(text("waits"))
        peer.outbox.push_urgent(PONG, encode(PONG, b"1"))
        peer.outbox.push_urgent(PING, encode(PING, b"2"))
        peer.transport.take()
        assert [(one.opcode, one.payload) for one in peer.frames()] == [
            (TEXT, b"stalls"),
            (PONG, b"1"),
            (PING, b"2"),
            (TEXT, b"waits"),
        ]

    def test_the_newest_of_each_waits(self, peer: Peer) -> None:
        peer.stall()
        for number in b"123":
            peer.outbox.push_urgent(PONG, encode(PONG, bytes([number])))
            peer.outbox.push_urgent(PING, encode(PING, bytes([number])))
        peer.transport.take()
        assert [one.payload for one in peer.frames()] == [b"stalls", b"3", b"3"]

    def test_is_refused_again(self, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push(text("waits"))
        peer.outbox.push_urgent(PONG, encode(PONG, b"1"))
        peer.transport.take(len(text("stalls")))
        assert peer.outbox.blocked
        assert peer.outbox.queued == 1
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, PONG, TEXT]

    def test_keeps_its_place_while_nothing_waits(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.push(text("a"))
        peer.outbox.push_urgent(PONG, encode(PONG, b""))
        peer.outbox.push(text("b"))
        loop.settle()
        assert [one.opcode for one in peer.frames()] == [TEXT, PONG, TEXT]
        assert len(peer.transport.writes) == 1

    def test_not_after_the_close(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.push_last(BYE)
        peer.outbox.push_urgent(PONG, encode(PONG, b""))
        loop.settle()
        assert [one.opcode for one in peer.frames()] == [CLOSE]


class TestLast:
    def test_what_was_accepted_goes_first(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.push(text("a"))
        peer.outbox.push_last(BYE)
        peer.outbox.push_last(encode_close(1001, "", None))
        assert peer.outbox.push(text("late")) is SendStatus.CLOSED
        loop.settle()
        assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]
        assert peer.outbox.sent_messages == 1

    def test_also_behind_a_slow_socket(self, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push(text("a"))
        peer.outbox.push_urgent(PONG, encode(PONG, b""))
        peer.outbox.push_last(BYE)
        assert peer.outbox.queued == 1
        peer.transport.take(len(text("stalls")))
        assert peer.outbox.blocked
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, PONG, TEXT, CLOSE]
        assert peer.outbox.sent_messages == 2
        assert peer.outbox.sent_bytes == len(peer.transport.writes[0]) + sum(
            map(len, peer.transport.writes[1:])
        )

    def test_the_close_itself_is_refused(self, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push(text("a"))
        peer.outbox.push_last(BYE)
        peer.transport.take(len(text("stalls") + text("a")) - 2)
        assert peer.frames()[-1].payload == b"stalls"
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]

    def test_discards(self, peer: Peer) -> None:
        """A failure or an eviction: the frame that has begun is finished, and no other."""
        peer.stall()
        peer.outbox.push(text("a"))
        peer.outbox.push_urgent(PONG, encode(PONG, b""))
        peer.outbox.push_last(BYE, discard=True)
        assert peer.outbox.buffered_amount == len(text("stalls")) - 1
        peer.transport.take()
        assert [(one.opcode, one.payload[2:]) for one in peer.frames()] == [(TEXT, b"alls"), (CLOSE, b"bye")]
        assert peer.outbox.sent_messages == 1


class TestFragments:
    def test_other_messages_wait_for_the_last_one(self, loop: ManualLoop, peer: Peer) -> None:
        outbox = peer.outbox
        outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        assert outbox.push(text("whole")) is SendStatus.QUEUED
        outbox.push_urgent(PONG, encode(PONG, b""))
        loop.settle()
        outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        assert [(one.opcode, one.fin, one.payload) for one in peer.frames()] == [
            (TEXT, False, b"1"),
            (PONG, True, b""),
            (CONTINUATION, True, b"2"),
            (TEXT, True, b"whole"),
        ]
        assert outbox.sent_messages == 2

    def test_alone(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.push_fragment(text("only"), first=True, fin=True)
        assert peer.outbox.push(text("next")) is SendStatus.SENT
        loop.settle()
        assert peer.texts() == ["only", "next"]

    def test_the_end_while_the_socket_refuses(self, loop: ManualLoop, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        peer.outbox.push(text("whole"))
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        peer.transport.take()
        assert [one.payload for one in peer.frames()] == [b"stalls", b"1", b"2", b"whole"]

    def test_the_socket_takes_bytes_again_in_the_middle(self, loop: ManualLoop, peer: Peer) -> None:
        peer.stall()
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        peer.outbox.push(text("whole"))
        loop.settle()
        peer.transport.take()
        assert [one.payload for one in peer.frames()] == [b"stalls", b"1"]
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        assert [one.payload for one in peer.frames()] == [b"2", b"whole"]

    @pytest.mark.parametrize("turns", [0, 1])
    def test_the_socket_takes_bytes_again_in_the_turn_of_the_end(
        self, loop: ManualLoop, peer: Peer, turns: int
    ) -> None:
        peer.stall()
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        peer.outbox.push(text("whole"))
        for _ in range(turns):
            loop.settle()
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        peer.outbox.push_last(BYE)
        peer.transport.take()
        loop.settle()
        assert [one.payload for one in peer.frames()] == [b"stalls", b"1", b"2", b"whole", BYE[2:]]

    @pytest.mark.parametrize("merge", [None, "\n"])
    @pytest.mark.parametrize("policy", SlowConsumerPolicy)
    def test_the_queue_has_its_limits_meanwhile(
        self, loop: ManualLoop, turn: Turn, policy: SlowConsumerPolicy, merge: str | None
    ) -> None:
        """Although the socket takes bytes: the message under way may never end."""
        peer, hub = Peer(loop, turn, limits=(4, 1000)), Hub()
        hub.topic("t", merge=merge, policy=policy)
        hub.subscribe(peer, "t")
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        for number in range(10):
            hub.publish("t", f"{number}")
            loop.settle()
            assert peer.outbox.queued <= 4
            assert not peer.outbox.blocked
        if policy is SlowConsumerPolicy.EVICT:
            assert peer.evicted == ["too slow"]
            assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]
            assert (peer.outbox.queued, hub.count("t")) == (0, 0)
            return
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        left = "0123" if policy is SlowConsumerPolicy.DROP_NEWEST else "6789"
        messages = list(left) if merge is None else [merge.join(left)]
        assert peer.texts() == ["1", "2", *messages]
        assert (peer.evicted, peer.outbox.dropped) == ([], 6)

    def test_the_bytes_are_limited_too(self, loop: ManualLoop, turn: Turn) -> None:
        peer = Peer(loop, turn, limits=(100, 1000))
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        assert peer.outbox.push(text("x" * 5000)) is SendStatus.QUEUED  # an empty queue takes any one
        assert peer.outbox.push(text("y")) is SendStatus.DROPPED
        assert peer.outbox.push_over_limits(text("z")) is SendStatus.QUEUED
        assert (peer.outbox.queued, peer.outbox.dropped) == (2, 1)

    def test_the_end_tells_that_others_have_left(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        peer.outbox.push(text("whole"))
        assert peer.drains == 0
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        assert peer.drains == 1

    def test_a_close_cuts_them_short(self, loop: ManualLoop, peer: Peer) -> None:
        """Only control frames may stand between fragments: what waits for the end cannot go."""
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        peer.outbox.push(text("whole"))
        peer.outbox.push_last(BYE)
        loop.settle()
        assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]
        assert (peer.outbox.queued, peer.outbox.queue_bytes) == (0, 0)


class TestPolicies:
    """What a topic's policy does to a client that is over its limits, with exact counts."""

    def publish(
        self,
        loop: ManualLoop,
        turn: Turn,
        policy: SlowConsumerPolicy,
        messages: list[str],
        size: int = 1000,
    ) -> tuple[Peer, Hub]:
        peer, hub = small(loop, turn, size=size), Hub(policy=policy)
        hub.subscribe(peer, "t")
        for message in messages:
            hub.publish("t", message)
        loop.settle()
        return peer, hub

    def test_evict(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = self.publish(loop, turn, SlowConsumerPolicy.EVICT, list("abc"))
        assert peer.evicted == []
        assert peer.outbox.queued == 3
        hub.publish("t", "d")
        hub.publish("t", "e")
        loop.settle()
        assert peer.evicted == ["too slow"]
        assert hub.count("t") == 0
        assert peer.outbox.push(text("late")) is SendStatus.CLOSED
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]
        assert (peer.outbox.sent_messages, peer.outbox.dropped) == (1, 0)

    def test_drop_newest(self, loop: ManualLoop, turn: Turn) -> None:
        peer, _ = self.publish(loop, turn, SlowConsumerPolicy.DROP_NEWEST, list("abcde"))
        assert peer.outbox.dropped == 2
        peer.transport.take()
        assert peer.texts() == ["stalls", "a", "b", "c"]
        assert peer.outbox.sent_messages == 4

    def test_drop_oldest(self, loop: ManualLoop, turn: Turn) -> None:
        peer, _ = self.publish(loop, turn, SlowConsumerPolicy.DROP_OLDEST, list("abcde"))
        assert peer.outbox.dropped == 2
        peer.transport.take()
        assert peer.texts() == ["stalls", "c", "d", "e"]
        assert peer.outbox.sent_messages == 4

    def test_drop_oldest_until_there_is_room(self, loop: ManualLoop, turn: Turn) -> None:
        messages = ["a" * 8, "b" * 8, "c" * 18]
        peer, _ = self.publish(loop, turn, SlowConsumerPolicy.DROP_OLDEST, messages, size=30)
        assert peer.outbox.dropped == 1
        assert peer.outbox.queue_bytes == 30
        peer.transport.take()
        assert peer.texts() == ["stalls", "b" * 8, "c" * 18]

    def test_drop_oldest_admits_one_however_large(self, loop: ManualLoop, turn: Turn) -> None:
        peer, _ = self.publish(loop, turn, SlowConsumerPolicy.DROP_OLDEST, ["a", "b", "c" * 500], size=30)
        assert peer.outbox.dropped == 2
        peer.transport.take()
        assert peer.texts() == ["stalls", "c" * 500]

    def test_drop_oldest_spares_what_was_sent_to_this_client_alone(
        self, loop: ManualLoop, turn: Turn
    ) -> None:
        peer, hub = small(loop, turn), Hub(policy=SlowConsumerPolicy.DROP_OLDEST)
        hub.subscribe(peer, "t")
        peer.outbox.push(text("own 1"))
        hub.publish("t", "a")
        loop.settle()
        peer.outbox.push(text("own 2"))
        hub.publish("t", "b")
        loop.settle()
        assert peer.outbox.dropped == 1
        hub.publish("t", "c")
        peer.outbox.push_over_limits(text("own 3"))
        hub.publish("t", "d")
        loop.settle()
        assert peer.outbox.dropped == 4
        peer.transport.take()
        assert peer.texts() == ["stalls", "own 1", "own 2", "own 3"]

    @pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
    def test_one_message_is_always_admitted(
        self, loop: ManualLoop, turn: Turn, policy: SlowConsumerPolicy
    ) -> None:
        peer, _ = self.publish(loop, turn, policy, ["x" * 500], size=30)
        assert peer.outbox.dropped == 0
        peer.transport.take()
        assert peer.texts() == ["stalls", "x" * 500]

    def test_a_direct_send_settles_and_may_find_the_client_evicted(
        self, loop: ManualLoop, turn: Turn
    ) -> None:
        peer, hub = self.publish(loop, turn, SlowConsumerPolicy.EVICT, list("abc"))
        hub.publish("t", "d")
        assert peer.outbox.push(text("own")) is SendStatus.CLOSED
        assert peer.evicted == ["too slow"]
        loop.settle()

    def test_evicted_by_one_of_its_topics(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = small(loop, turn, messages=1), Hub()
        other = Peer(loop, turn)
        for topic in "tu":
            hub.subscribe(peer, topic)
            hub.subscribe(other, topic)
        for topic, message in zip("ttu", "abc", strict=True):
            hub.publish(topic, message)
        loop.settle()
        assert (peer.evicted, hub.count("t"), hub.count("u")) == (["too slow"], 1, 1)
        assert other.texts() == list("abc")

    def test_limits_count_messages_and_not_joined_batches(self, loop: ManualLoop, turn: Turn) -> None:
        peer, hub = small(loop, turn, messages=256), Hub()
        hub.topic("t", merge="\n")
        hub.subscribe(peer, "t")
        for _ in range(256):
            hub.publish("t", "x")
        loop.settle()
        assert (peer.outbox.queued, peer.evicted) == (256, [])
        hub.publish("t", "x")
        loop.settle()
        assert peer.evicted == ["too slow"]


def test_an_outbox_that_outlives_its_connection(loop: ManualLoop, turn: Turn) -> None:
    peer = Peer(loop, turn)
    outbox: Outbox = peer.outbox
    outbox.discard()
    outbox.disown()
    assert outbox.push(text("x")) is SendStatus.CLOSED
    assert outbox.buffered_amount == 0
