"""What one turn of the loop says leaves together."""

from __future__ import annotations

import pytest

from fastws.loop.turn import ANSWERS_AT_ONCE, ANSWERS_TOGETHER, Turn
from fastws.pubsub.fanout import fan_out_of
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer, audience, text


def test_a_turn_is_one_call_of_the_loop(loop: ManualLoop, turn: Turn) -> None:
    hub = Hub()
    peers = audience(loop, turn, hub, 3)
    peers[0].outbox.push(text("own"))
    hub.publish("t", "a")
    hub.publish("t", "b")
    peers[1].outbox.push(text("own"))
    assert len(loop._ready) == 1
    loop.turn()
    assert [peer.texts() for peer in peers] == [["own", "a", "b"], ["a", "b", "own"], ["a", "b"]]
    assert [len(peer.transport.writes) for peer in peers] == [1, 1, 1]
    assert loop.is_idle


class TestAnswers:
    """What handlers say to reads: written together, where there is more than one."""

    def answer(self, turn: Turn, peer: Peer, message: str) -> None:
        peer.outbox.corked = True
        peer.outbox.push(text(message))
        peer.outbox.corked = False
        turn.answer(peer.outbox)

    def test_of_one_turn_leave_at_its_end(self, loop: ManualLoop, turn: Turn) -> None:
        peers = [Peer(loop, turn) for _ in range(3)]
        for message in ("a", "b"):
            for peer in peers:
                self.answer(turn, peer, message)
        assert [peer.texts() for peer in peers] == [[]] * 3
        loop.turn()
        assert [peer.texts() for peer in peers] == [["a", "b"]] * 3
        assert [len(peer.transport.writes) for peer in peers] == [1] * 3
        assert loop.is_idle

    def test_no_more_wait_than_are_written_together(self, loop: ManualLoop, turn: Turn) -> None:
        peers = [Peer(loop, turn) for _ in range(ANSWERS_TOGETHER + 1)]
        for peer in peers[:-1]:
            self.answer(turn, peer, "a")
        assert [peer.texts() for peer in peers[:-1]] == [["a"]] * ANSWERS_TOGETHER
        self.answer(turn, peers[-1], "a")
        assert peers[-1].texts() == []
        loop.settle()
        assert peers[-1].texts() == ["a"]

    def test_who_talks_alone_is_answered_at_once(self, loop: ManualLoop, turn: Turn) -> None:
        one, other = Peer(loop, turn), Peer(loop, turn)
        self.answer(turn, one, "tried")
        loop.turn()
        for _ in range(ANSWERS_AT_ONCE):
            one.texts()
            self.answer(turn, one, "at once")
            assert one.texts() == ["at once"]
        assert loop.is_idle
        # Tried again, and this time there are two.
        for _ in range(2):
            for peer in (one, other):
                self.answer(turn, peer, "together")
                assert peer.texts() == []
            loop.turn()
            assert [one.texts(), other.texts()] == [["together"]] * 2

    @pytest.mark.parametrize("size", [4095, 4096])
    def test_a_large_one_waits_for_nobody(self, loop: ManualLoop, turn: Turn, size: int) -> None:
        peer, message = Peer(loop, turn), "x" * (size - 4)
        self.answer(turn, peer, message)
        assert peer.texts() == ([message] if size == 4096 else [])
        loop.turn()
        assert len(peer.transport.writes) == 1

    def test_the_order_of_the_calls(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, ANSWERS_TOGETHER)
        hub.publish("t", "first")
        for peer in peers:
            self.answer(turn, peer, "own")
        hub.publish("t", "last")
        loop.settle()
        assert [peer.texts() for peer in peers] == [["first", "own", "last"]] * ANSWERS_TOGETHER

    def test_nothing_is_written_to_a_transport_that_has_closed(self, loop: ManualLoop, turn: Turn) -> None:
        """Its descriptor may be another connection's by then."""
        peer = Peer(loop, turn)
        self.answer(turn, peer, "late")
        peer.transport.abort()
        loop.turn()
        assert peer.transport.writes == []


def test_turns_follow_each_other(loop: ManualLoop, turn: Turn) -> None:
    hub = Hub()
    (peer,) = audience(loop, turn, hub, 1)
    for step in range(3):
        number = fan_out_of(turn).turn_number
        hub.publish("t", f"topic {step}")
        loop.turn()
        assert fan_out_of(turn).turn_number == number + 1
        peer.outbox.push(text(f"own {step}"))
        loop.turn()
    assert peer.texts() == ["topic 0", "own 0", "topic 1", "own 1", "topic 2", "own 2"]


def test_what_is_said_while_the_turn_ends_belongs_to_the_next(loop: ManualLoop, turn: Turn) -> None:
    class Answering(Peer):
        def resume_writing(self) -> None:
            super().resume_writing()
            hub.publish("t", "from resume")

    hub = Hub()
    peer = Answering(loop, turn)
    hub.subscribe(peer, "t")
    peer.stall()
    hub.publish("t", "a")
    peer.transport.take()
    loop.settle()
    assert peer.texts() == ["stalls", "a", "from resume"]
