"""How many listen to a topic on all nodes."""

from __future__ import annotations

import asyncio

import pytest

import fastws
from fastws.pubsub.gateway.census import ASK_TICKS, CENSUS, GONE_TICKS, SAY_TICKS
from fastws.testing import BrokerServer, Clock
from tests.kit.buses import Listener
from tests.kit.nodes import nodes_in_time, pumped


def listen(hub: fastws.Hub, count: int) -> list[Listener]:
    clients = [Listener() for _ in range(count)]
    for client in clients:
        hub.subscribe(client, "t")
    return clients


async def test_each_node_is_asked() -> None:
    with Clock() as clock:
        server = BrokerServer()
        async with nodes_in_time(clock, *[server.broker() for _ in range(3)]) as hubs:
            clients = [client for number, hub in enumerate(hubs) for client in listen(hub, number + 1)]
            for hub in hubs:
                assert await pumped(clock, hub.total("t")) == 6
                assert await pumped(clock, hub.total("nobody listens")) == 0
            await pumped(clock, hubs[2].close())
            assert await pumped(clock, hubs[0].total("t")) == 3
            await clock.advance(2 * GONE_TICKS)
            assert await pumped(clock, hubs[0].total("t")) == 3
            clients[0].outbox.leave_topics()
            assert await pumped(clock, hubs[1].total("t")) == 2


async def test_one_that_cannot_answer() -> None:
    with Clock() as clock:
        server = BrokerServer()
        brokers = [server.broker() for _ in range(2)]
        async with nodes_in_time(clock, *brokers) as (one, two):
            listen(one, 1)
            listen(two, 1)
            brokers[1]._server = BrokerServer()  # whatever it says, nobody hears it
            asked = asyncio.create_task(one.total("t", timeout=1))
            await clock.advance(2)
            with pytest.raises(TimeoutError, match="no answer within 1 s"):
                await asked
            await clock.advance(GONE_TICKS + 2)
            assert await pumped(clock, one.total("t")) == 1
            brokers[1]._server = server
            await clock.advance(SAY_TICKS + 1)
            assert await pumped(clock, one.total("t")) == 2
            server.stop()
            asked = asyncio.create_task(one.total("t", timeout=1))
            await clock.advance(ASK_TICKS + 2)
            with pytest.raises(TimeoutError):
                await asked
            server.start()
            await clock.advance(SAY_TICKS + 1)
            assert await pumped(clock, one.total("t")) == 2


async def test_what_makes_no_sense(caplog: pytest.LogCaptureFixture) -> None:
    with Clock() as clock:
        server = BrokerServer()
        async with nodes_in_time(clock, server.broker(), server.broker()) as (one, _):
            for blob in (b"{}", b"[]", b"7", b'["ask","x"]', b'["answer","x",1]', b"\xff"):
                server.deliver(CENSUS, blob)
            await clock.advance(1)
            assert caplog.text.count("has said what makes no sense") == 12
            server.deliver(CENSUS, b'["bye","x"]')
            await clock.advance(1)
            assert await pumped(clock, one.total("t")) == 0
