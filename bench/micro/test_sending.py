"""The outbox and the hub, with transports that keep nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.micro.material import JSON_TEXT, Listener, LoopByHand
from fastws.pubsub.hub import Hub

FRAME = b"\x81\x14" + b"t" * 20
CLIENTS = 1000


@pytest.mark.parametrize("count", [1, 16])
def test_outbox(benchmark: Any, count: int) -> None:
    benchmark.group = f"outbox: {count} frames, one write"
    turn = LoopByHand()
    outbox = turn.outbox()

    def send() -> None:
        for _ in range(count):
            outbox.push(FRAME)
        turn.end()

    benchmark(send)
    assert outbox.sent_bytes == outbox.sent_messages * len(FRAME) > 0


def publisher(variant: int, merge: str | None) -> tuple[LoopByHand, Hub, list[Listener]]:
    """A topic with a thousand clients that hold nothing."""
    turn, hub = LoopByHand(), Hub()
    hub.topic("room", merge=merge)
    listeners = [Listener(turn.outbox(variant)) for _ in range(CLIENTS)]

    async def subscribe() -> None:  # a hub binds to the running loop
        for listener in listeners:
            hub.subscribe(listener, "room")

    asyncio.run(subscribe())
    return turn, hub, listeners


def publish(turn: LoopByHand, hub: Hub, messages: list[str]) -> Callable[[], None]:
    def run() -> None:
        for message in messages:
            hub.publish("room", message)
        turn.end()

    return run


@pytest.mark.parametrize("merge", [None, "\n"], ids=["frames", "merged"])
@pytest.mark.parametrize("count", [1, 16])
def test_publish(benchmark: Any, count: int, merge: str | None) -> None:
    benchmark.group = f"hub: {count} messages of 64 B to 1,000"
    turn, hub, listeners = publisher(0, merge)
    benchmark(publish(turn, hub, ["t" * 64] * count))
    assert min(listener.outbox.sent_messages for listener in listeners) > 0


def test_publish_compressed(benchmark: Any) -> None:
    benchmark.group = "hub: 1 KiB of JSON to 1,000, compressed once"
    turn, hub, listeners = publisher(15, None)
    benchmark(publish(turn, hub, [JSON_TEXT]))
    sent = listeners[0].outbox
    assert 0 < sent.sent_bytes < sent.sent_messages * len(JSON_TEXT) / 2
