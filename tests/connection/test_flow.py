"""Congested and slow: two states of who does not take what it is sent, and what each of them changes."""

from __future__ import annotations

import asyncio

import pytest

import fastws
from fastws import FlowState, Hub, SendStatus, WebSocket
from fastws.loop.turn import Turn
from tests.kit import ManualLoop, Pair, RawClient, Recorder
from tests.kit.outboxes import Peer, text
from tests.kit.served import QUIET, collect, opened

CLEAR, CONGESTED, SLOW = FlowState

SNAPSHOT = 98_000


def congest(loop: ManualLoop, client: RawClient, ws: WebSocket) -> None:
    """Send a snapshot to a fresh socket that takes half of it."""
    client.stall(SNAPSHOT // 2)
    ws.send_nowait(b"s" * SNAPSHOT)
    loop.settle()


class TestCongested:
    def test_a_fresh_socket_that_refuses_a_snapshot_is_read_on(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop)
        assert ws.flow is CLEAR
        congest(loop, client, ws)
        assert ws.flow is CONGESTED
        client.text("still here")
        loop.settle()
        assert handler.messages() == ["still here"]
        assert client.transport.is_reading()
        client.read()
        loop.settle()
        assert ws.flow is CLEAR
        assert [len(one.payload) for one in client.frames()] == [SNAPSHOT]

    @pytest.mark.parametrize("policy", ["evict", "drop_newest", "drop_oldest"])
    def test_and_has_everything_that_is_published_meanwhile(self, policy: str, loop: ManualLoop) -> None:
        hub = Hub(policy=policy)
        client, ws, handler = collect(loop)
        hub.subscribe(ws, "t")
        congest(loop, client, ws)
        for number in range(120):
            hub.publish("t", str(number))
            loop.settle()
        assert (ws.flow, handler.closes()) == (CONGESTED, [])
        client.read()
        loop.settle()
        assert [one.text for one in client.frames()[1:]] == [str(number) for number in range(120)]

    def test_the_write_limit_is_the_same(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop)
        congest(loop, client, ws)
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(3)
        assert client.transport.lost
        assert len(handler.closes()) == 1

    def test_a_send_waits(self, loop: ManualLoop) -> None:
        sent: list[int] = []

        async def sends(ws: WebSocket) -> None:
            await ws.recv()
            for number in range(20):
                await ws.send(b"x" * 20_000)
                sent.append(number)

        client = opened(loop, sends)
        client.stall(10_000)
        client.text("go")
        loop.settle()
        assert 0 < len(sent) < 20
        client.read()
        loop.settle()
        assert len(sent) == 20


class TestSlow:
    @pytest.mark.parametrize(("count", "size"), [(128, 1), (9, 60_000)], ids=["messages", "bytes"])
    def test_it_begins_at_half_of_what_may_wait(self, count: int, size: int, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop)
        congest(loop, client, ws)
        verdicts = {ws.send_nowait(b"x" * size) for _ in range(count - 1)}
        assert ws.flow is CONGESTED
        verdicts.add(ws.send_nowait(b"x" * size))
        assert (ws.flow, verdicts) == (SLOW, {SendStatus.QUEUED})
        assert not client.transport.is_reading()
        client.text("waits")
        loop.settle()
        assert handler.messages() == []
        client.read()
        loop.settle()
        assert (ws.flow, handler.messages()) == (CLEAR, ["waits"])
        assert client.transport.is_reading()

    def test_it_lasts_until_nothing_waits_behind_the_socket(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        congest(loop, client, ws)
        for _ in range(10):
            ws.send_nowait(b"x" * 90_000)
        assert ws.flow is SLOW
        states = []
        while ws.flow is not CLEAR:
            client.read(50_000)
            loop.settle()
            states.append(ws.flow)
        assert states == sorted(states, reverse=True)
        assert set(states) == {SLOW, CONGESTED, CLEAR}

    def test_an_echo_drops_nothing_of_a_flood(self, loop: ManualLoop) -> None:
        verdicts = set()

        class Echo(Recorder):
            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                verdicts.add(ws.send_nowait(message))

        client = opened(loop, Echo())
        client.stall(1000)
        for number in range(3000):
            client.text(f"{number:0100}")
        loop.settle()
        assert not client.transport.is_reading()
        client.read()
        loop.settle()
        assert [int(one.text) for one in client.frames()] == list(range(3000))
        assert verdicts <= {SendStatus.SENT, SendStatus.QUEUED}

    def test_who_asks_for_pongs_and_does_not_read_them(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        congest(loop, client, ws)
        client.ping(b"1")
        assert ws.flow is CONGESTED
        client.ping(b"2")
        assert ws.flow is SLOW
        assert not client.transport.is_reading()
        client.read()
        loop.settle()
        assert (ws.flow, client.frames()[-1].payload) == (CLEAR, b"2")

    def test_beyond_the_limits_the_policy_decides(self, loop: ManualLoop) -> None:
        hub = Hub()
        client, ws, handler = collect(loop)
        hub.subscribe(ws, "t")
        congest(loop, client, ws)
        for number in range(257):
            assert handler.closes() == []
            hub.publish("t", str(number))
            loop.settle()
        assert handler.closes() == [(1008, "too slow")]

    def test_messages_behind_a_fragmented_one_make_nobody_slow(self, loop: ManualLoop, turn: Turn) -> None:
        peer = Peer(loop, turn, limits=(4, 1000))
        peer.outbox.push_fragment(b"\x01\x01a", first=True, fin=False)
        for _ in range(4):
            peer.outbox.push(text("b"))
        assert (peer.outbox.flow, peer.slowed) == (CLEAR, 0)
        peer.transport.room = 0
        peer.outbox.flush()
        assert (peer.outbox.flow, peer.slowed) == (SLOW, 1)


def test_a_clients_coroutine_is_read_on(loop: ManualLoop) -> None:
    """Its inbox is a bound of its own: it and an echo that is slow too would wait for each other for ever."""
    pair = Pair(loop, Recorder(echo=True), **QUIET)
    pair.client.hold_back(0)
    pair.server.hold_back(0)
    pair.ws.send_nowait("first")
    loop.settle()
    for _ in range(200):
        pair.ws.send_nowait("x" * 5000)
    loop.settle()
    assert pair.ws.flow is SLOW
    assert pair.client.is_reading()
    pair.client.allow(None)
    pair.server.allow(None)

    async def all_of_them() -> int:
        return len([await asyncio.wait_for(pair.ws.recv(), 60) for _ in range(201)])

    assert loop.run(all_of_them()) == 201


def test_the_states_are_in_order() -> None:
    assert CLEAR < CONGESTED < SLOW
    assert fastws.FlowState.CONGESTED == 1
