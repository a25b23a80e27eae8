"""A topic that compresses what is worth it, and finds out by itself."""

from __future__ import annotations

import random

import pytest

from fastws import Compression, CompressionUse, Hub
from fastws.connection.compression_meter import (
    LONGEST_PAUSE_MESSAGES,
    PAUSE_MESSAGES,
    SAMPLE_MESSAGES,
    WORTHLESS_RATIO,
    CompressionMeter,
)
from fastws.loop.turn import Turn
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer

WINDOW = 15


def noise(size: int = 2000) -> bytes:
    return random.Random(size).randbytes(size)


class TestMeter:
    def feed(self, meter: CompressionMeter, messages: int, ratio: float) -> int:
        """Send so many messages; return how many of them were compressed."""
        compressed = 0
        for _ in range(messages):
            if not meter.skips():
                meter.measured(1000, int(1000 * ratio))
                compressed += 1
        return compressed

    @pytest.mark.parametrize("ratio", [0.1, 0.5, WORTHLESS_RATIO - 0.01])
    def test_what_is_worth_it_stays_on(self, ratio: float) -> None:
        meter = CompressionMeter()
        assert self.feed(meter, 10 * SAMPLE_MESSAGES, ratio) == 10 * SAMPLE_MESSAGES
        assert meter.use() == CompressionUse(True, pytest.approx(ratio), 10 * SAMPLE_MESSAGES, 0)

    @pytest.mark.parametrize("ratio", [WORTHLESS_RATIO, 1.0, 1.1])
    def test_what_is_not_is_switched_off_and_tried_again(self, ratio: float) -> None:
        meter = CompressionMeter()
        pause = PAUSE_MESSAGES
        for _ in range(10):
            assert self.feed(meter, SAMPLE_MESSAGES + pause, ratio) == SAMPLE_MESSAGES
            pause = min(2 * pause, LONGEST_PAUSE_MESSAGES)
        assert meter.use().compressed == 10 * SAMPLE_MESSAGES
        assert meter.use().ratio == pytest.approx(ratio)

    def test_what_becomes_worth_it_is_switched_on(self) -> None:
        meter = CompressionMeter()
        self.feed(meter, 2 * SAMPLE_MESSAGES, 1.0)
        assert not meter.use().is_on
        self.feed(meter, PAUSE_MESSAGES, 0.2)
        assert self.feed(meter, 1000, 0.2) == 1000
        # The next pause is a short one again.
        self.feed(meter, 2 * SAMPLE_MESSAGES, 1.0)
        assert self.feed(meter, PAUSE_MESSAGES, 1.0) < 2 * SAMPLE_MESSAGES


class TestTopics:
    def room(self, loop: ManualLoop, turn: Turn, **options: object) -> tuple[Hub, list[Peer]]:
        hub = Hub(**options)  # type: ignore[arg-type]
        peers = [Peer(loop, turn) for _ in range(3)]
        for peer in peers:
            peer.outbox.frame_variant = WINDOW
            hub.subscribe(peer, "t")
        return hub, peers

    def test_noise_is_sent_as_it_is(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peers = self.room(loop, turn)
        for _ in range(SAMPLE_MESSAGES + 10):
            hub.publish("t", noise())
            loop.settle()
        assert hub.compression("t") == CompressionUse(
            False, pytest.approx(1.0, abs=0.01), SAMPLE_MESSAGES, 10
        )
        for peer in peers:
            frames = peer.frames()
            assert {one.rsv1 for one in frames} == {False}
            assert {one.payload for one in frames} == {noise()}

    def test_texts_are_compressed_once_for_all(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peers = self.room(loop, turn)
        for _ in range(2 * SAMPLE_MESSAGES):
            hub.publish("t", "words and words " * 100)
            loop.settle()
        use = hub.compression("t")
        assert use is not None and (use.is_on, use.compressed, use.skipped) == (True, 2 * SAMPLE_MESSAGES, 0)
        assert {one.rsv1 for one in peers[0].frames()} == {True}

    @pytest.mark.parametrize("compression", [None, Compression(threshold=4000)])
    def test_what_is_not_compressed_is_not_counted(
        self, compression: Compression | None, loop: ManualLoop, turn: Turn
    ) -> None:
        hub, _ = self.room(loop, turn)
        hub.topic("u", compression=compression)
        assert (hub.compression("nobody"), hub.compression("t")) == (None, None)
        hub.publish("u", noise())
        loop.settle()
        assert hub.compression("u") is None

    def test_each_topic_for_itself(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peers = self.room(loop, turn)
        hub.subscribe(peers[0], "u")
        for _ in range(SAMPLE_MESSAGES + 1):
            hub.publish("t", noise())
            hub.publish("u", "words and words " * 100)
            loop.settle()
        first, second = hub.compression("t"), hub.compression("u")
        assert first is not None and second is not None
        assert (first.is_on, second.is_on) == (False, True)
