"""A fan-out: one join per topic, the same bytes for all that are idle, and failures that stop no other."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from fastws.loop.turn import Turn
from fastws.pubsub.fanout import IDLE_LOOKS, LARGE_FAN_OUT, fan_out_of
from fastws.pubsub.hub import Hub
from tests.kit import Kernel, ManualLoop
from tests.kit.outboxes import Peer, audience, text


class TestFailures:
    """A transport that raises, which none of asyncio's does, and an owner that does."""

    def break_writing(self, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(data: bytes) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(peer.transport, "write", write)

    @pytest.mark.parametrize("published", [False, True])
    def test_a_transport_that_raises_ends_alone(
        self,
        loop: ManualLoop,
        turn: Turn,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        published: bool,
    ) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, 3)
        self.break_writing(peers[1], monkeypatch)
        if published:
            hub.publish("t", "a")
        else:
            for peer in peers:
                peer.outbox.push(text("a"))
        loop.turn()
        assert [peer.texts() for peer in peers] == [["a"], [], ["a"]]
        assert [peer.transport.aborted for peer in peers] == [False, True, False]
        assert "ZeroDivisionError" in caplog.text
        hub.publish("t", "b")
        loop.turn()
        assert [peer.texts() for peer in peers] == [["b"], [], ["b"]]

    def test_what_raises_in_a_fan_out_stops_nothing_else(
        self, loop: ManualLoop, turn: Turn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def evict(reason: str) -> None:
            raise ZeroDivisionError

        hub = Hub()
        slow, speaker = Peer(loop, turn, limits=(1, 100)), Peer(loop, turn)
        hub.subscribe(slow, "t")
        monkeypatch.setattr(slow, "evict", evict)
        slow.stall()
        for message in ("a", "b"):
            hub.publish("t", message)
        speaker.outbox.push(text("own"))
        with pytest.raises(ZeroDivisionError):
            turn.flush()
        assert speaker.texts() == ["own"]
        number = fan_out_of(turn).turn_number
        hub.unsubscribe(slow, "t")
        hub.subscribe(speaker, "t")
        hub.publish("t", "c")
        speaker.outbox.push(text("again"))
        loop.settle()
        assert speaker.texts() == ["c", "again"]
        assert fan_out_of(turn).turn_number == number + 1

    def test_a_topic_that_cannot_be_joined_stops_no_other(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        broken: Any = hub.topic("broken", merge="+")
        for name in ("broken", "sound"):
            audience(loop, turn, hub, 1, name)
        hub.subscribe(peer, "sound")
        broken.merge = 5
        for topic, message in (("broken", "a"), ("broken", "a"), ("sound", "b")):
            hub.publish(topic, message)
        with pytest.raises(AttributeError):
            turn.flush()
        assert peer.texts() == ["b"]

    @pytest.mark.parametrize("published", [False, True])
    def test_a_turn_that_the_loop_refused_does_not_stop_the_next(
        self, loop: ManualLoop, published: bool
    ) -> None:
        """A loop that debugs raises for a call from another thread."""
        refusals = [RuntimeError("Non-thread-safe operation")]

        def call_soon(callback: Any) -> None:
            if refusals:
                raise refusals.pop()
            loop.call_soon(callback)

        turn, hub = Turn(call_soon), Hub()
        peer = Peer(loop, turn)
        hub.subscribe(peer, "t")
        for number in range(2):
            with contextlib.suppress(RuntimeError):
                if published:
                    hub.publish("t", f"{number}")
                else:
                    peer.outbox.push(text(f"{number}"))
        loop.settle()
        assert peer.texts() == ["1"]


def test_what_a_topic_published_is_joined_once(loop: ManualLoop, turn: Turn) -> None:
    hub = Hub()
    peers = audience(loop, turn, hub, 3)
    hub.publish("t", "a")
    hub.publish("t", "b")
    loop.settle()
    assert {bytes(peer.transport.writes[0]) for peer in peers} == {text("a") + text("b")}
    assert [(peer.outbox.sent_messages, peer.outbox.sent_bytes) for peer in peers] == [(2, 6)] * 3


def test_several_topics_keep_the_order_of_the_calls(loop: ManualLoop, turn: Turn) -> None:
    hub, other = Hub(), Hub()
    both, only = audience(loop, turn, hub, 2)
    hub.subscribe(both, "u")
    other.subscribe(both, "t")
    for where, topic, message in ((hub, "u", "1"), (hub, "t", "2"), (other, "t", "3"), (hub, "u", "4")):
        where.publish(topic, message)
    loop.settle()
    assert both.texts() == ["1", "2", "3", "4"]
    assert only.texts() == ["2"]
    assert len(both.transport.writes) == 1


def test_a_client_that_closes_in_the_turn(loop: ManualLoop, turn: Turn) -> None:
    hub = Hub()
    gone, stays = audience(loop, turn, hub, 2)
    hub.publish("t", "a")
    gone.transport.abort()
    loop.settle()
    assert stays.texts() == ["a"]
    assert gone.transport.writes == []


class TestTurnThatGoesOn:
    """What is published to many leaves when looks at the sockets bring nothing more, or soon anyway."""

    @pytest.fixture
    def clock(self) -> list[float]:
        return [100.0]

    @pytest.fixture
    def turn(self, loop: ManualLoop, clock: list[float]) -> Turn:
        def ticks() -> float:
            clock[0] += 0.001
            return clock[0]

        return Turn(loop.call_soon, ticks)

    def test_while_more_comes(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, LARGE_FAN_OUT)
        hub.publish("t", "first")
        loop.settle()  # it took a millisecond
        number = fan_out_of(turn).turn_number
        hub.publish("t", "a")
        loop.turn()
        assert all(peer.texts() == ["first"] for peer in peers)
        hub.publish("t", "b")
        peers[0].outbox.push(text("own"))
        loop.turn()
        assert peers[0].texts() == ["a", "b", "own"]
        for _ in range(IDLE_LOOKS):
            assert peers[1].texts() == []
            loop.turn()
        assert all(peer.texts() == ["a", "b"] for peer in peers[1:])
        assert [len(peer.transport.writes) for peer in peers] == [2] * LARGE_FAN_OUT
        assert fan_out_of(turn).turn_number == number + 1
        assert loop.is_idle

    def test_what_is_said_to_one_does_not_wait(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, LARGE_FAN_OUT)
        alone = Peer(loop, turn)
        hub.publish("t", "a")
        alone.outbox.push(text("own"))
        peers[0].outbox.push(text("own"))
        loop.turn()
        assert (alone.texts(), peers[0].texts(), peers[1].texts()) == (["own"], ["a", "own"], [])
        hub.publish("t", "b")
        loop.settle()
        assert (peers[0].texts(), peers[1].texts()) == (["b"], ["a", "b"])

    @pytest.mark.parametrize(("step", "looks"), [(0.0, 3), (0.01, 2)])
    def test_no_longer_than_the_last_one_took(
        self, loop: ManualLoop, turn: Turn, clock: list[float], step: float, looks: int
    ) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, LARGE_FAN_OUT)
        hub.publish("t", "a")
        loop.settle()
        turns = 0
        while len(peers[0].texts()) < 2:
            hub.publish("t", "b")
            clock[0] += step
            loop.turn()
            turns += 1
            assert turns < 50
        assert turns == looks

    def test_a_few_do_not_wait(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        peers = audience(loop, turn, hub, LARGE_FAN_OUT - 1)
        hub.publish("t", "a")
        loop.turn()
        assert all(peer.texts() == ["a"] for peer in peers)


class TestManySockets:
    """One call of the kernel's stand-in for all that are idle."""

    def test_one_call_for_all(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        hub = Hub()
        direct = [Peer(loop, turn, kernel=kernel) for _ in range(5)]
        (through_transport,) = audience(loop, turn, hub, 1)
        for peer in direct:
            hub.subscribe(peer, "t")
        hub.publish("t", "a")
        loop.settle()
        assert kernel.calls == [5]
        assert [peer.texts() for peer in [*direct, through_transport]] == [["a"]] * 6

    def test_only_what_is_unusual_is_looked_at(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        hub = Hub()
        whole, part, full, broken = (
            Peer(loop, turn, kernel=kernel, room=room) for room in (None, 2, 0, None)
        )
        for peer in (whole, part, full, broken):
            hub.subscribe(peer, "t")
        kernel.errors[broken.outbox.fd] = 104
        hub.publish("t", "hello")
        loop.settle()
        assert kernel.calls == [4]
        assert whole.texts() == ["hello"]
        assert (part.outbox.blocked, full.outbox.blocked) == (True, True)
        assert broken.transport.aborted
        hub.publish("t", "again")
        loop.settle()
        assert kernel.calls == [4, 1]
        for peer in (part, full):
            peer.transport.take()
            assert peer.texts() == ["hello", "again"]

    def test_groups_by_variant(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        hub = Hub()
        peers = [Peer(loop, turn, kernel=kernel) for _ in range(4)]
        for peer, variant in zip(peers, (0, 15, 15, -1), strict=True):
            peer.outbox.frame_variant = variant
            hub.subscribe(peer, "t")
        hub.publish("t", "x" * 2000)
        loop.settle()
        assert sorted(kernel.calls) == [1, 1, 2]
        assert [peer.frames()[0].rsv1 for peer in peers] == [False, True, True, False]
