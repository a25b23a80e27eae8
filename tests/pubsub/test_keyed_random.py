"""Keyed topics at random, and with many keys and clients: the final state is exact, and nothing goes back."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.loop.turn import Turn
from fastws.pubsub import keyed
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.pubsub.mirrors import Mirror

CLIENTS = 3
KEYS = "abcdefgh"
#: How many messages a second each client may have.
RATES = (None, None, 5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish"] * 6
            + ["remove"] * 3
            + ["clear", "tick", "tick", "wait", "stall", "read", "drip", "return"]
        ),
        st.integers(0, CLIENTS - 1),
        st.sampled_from(KEYS),
    ),
    max_size=60,
)


def exact(hub: Hub, loop: ManualLoop) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in loop.run(hub.snapshot("t")).items()}


@settings(max_examples=400, deadline=None)
@given(STEPS, st.sampled_from([60, 64 * 1024]), st.sampled_from([3.0, None]))
def test_the_final_state(steps: list[tuple[str, int, str]], frame_bytes: int, key_ttl: float | None) -> None:
    with pytest.MonkeyPatch.context() as patch, ManualLoop() as loop:  # type: ignore[abstract]
        patch.setattr(keyed, "FRAME_BYTES", frame_bytes)
        turn = Turn(loop.call_soon, loop.time)
        hub = Hub()
        hub.topic("t", mode="keyed", max_keys=6, ttl=2.0, key_ttl=key_ttl)
        clients = [Mirror(loop, turn) for _ in range(CLIENTS)]
        for index, client in enumerate(clients):
            hub.subscribe(client, "t", max_rate=RATES[index])
        value = 0
        for step, index, key in steps:
            client = clients[index]
            match step:
                case "publish":
                    value += 1
                    try:
                        hub.publish("t", str(value), key=key)
                    except ValueError:
                        assert len(exact(hub, loop)) == 6
                case "remove":
                    hub.remove("t", key)
                case "clear":
                    hub.clear("t")
                case "tick":
                    loop.advance(0.03)
                case "wait":
                    loop.advance(1.5)
                case "stall":
                    if not client.outbox.blocked:
                        client.stall()
                case "read":
                    client.transport.room = None
                    client.reads_on()
                case "drip":
                    client.transport.take(40)
                    loop.settle()
                case "return":
                    client.read()
                    clients[index] = back = Mirror(loop, turn)
                    since = client.at if key < "e" else None
                    synced = hub.subscribe(back, "t", since=since, max_rate=RATES[index])
                    assert synced is not None
                    # It may hold more than that position says, and nothing that is newer than the topic.
                    if not synced.snapshot:
                        back.state = client.state
                    client.outbox.leave_topics()
            for each in clients:
                assert each.outbox.queued == 0
                each.read()
        for client in clients:
            client.transport.room = None
            client.reads_on()
        loop.advance(6)
        for client in clients:
            client.read()
            assert client.state == exact(hub, loop)
            assert client.at == str(loop.run(hub.position("t")))
            assert (client.evicted, client.gaps) == ([], [])


def test_500_keys_and_100_clients(loop: ManualLoop, turn: Turn) -> None:
    """Of 100 clients 20 stall and 20 read slowly: nothing is queued for them, and all end with the same."""
    hub = Hub()
    hub.topic("t", mode="keyed")
    clients = [Mirror(loop, turn) for _ in range(100)]
    fast, slow, stalled = clients[:60], clients[60:80], clients[80:]
    for client in clients:
        hub.subscribe(client, "t")
    loop.settle()
    for client in slow + stalled:
        client.stall()
    value = 0
    for tick in range(60):
        for number in range(250):  # each key 20 times a second
            value += 1
            hub.publish("t", str(value), key=f"key{(tick % 2 * 250 + number):03}")
        if tick % 10 == 9:
            hub.remove("t", f"key{tick:03}")
        loop.advance(0.025)
        for client in slow:
            client.transport.take(500)  # 20 KB/s
        loop.settle()
        assert [client.outbox.queued + client.outbox.queue_bytes for client in clients] == [0] * 100
        # What the kernel refused is a part of the one write that it refused.
        assert max(client.transport.get_write_buffer_size() for client in stalled) < 10
    writes = {id(client.transport.writes[-1]) for client in fast}
    assert len(writes) == 1
    for client in slow + stalled:
        client.transport.room = None
        client.reads_on()
    loop.advance(1.1)
    checksum = zlib.crc32(json.dumps(exact(hub, loop), sort_keys=True).encode())
    for client in clients:
        client.read()
        assert zlib.crc32(json.dumps(client.state, sort_keys=True).encode()) == checksum
        assert (client.evicted, client.gaps, client.outbox.dropped) == ([], [], 0)
    assert all(len(client.messages) < 8 for client in stalled)
