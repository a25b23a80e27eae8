"""The gateway of a single process: when it begins, ends, and begins anew."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from fastws import BrokerUnavailable, Hub
from fastws.testing import BrokerServer
from tests.kit import until
from tests.kit.keepers import Client
from tests.kit.nodes import heard


async def test_a_broker_that_is_away_at_the_start_is_an_error() -> None:
    server = BrokerServer()
    server.stop()
    hub = Hub(broker=server.broker())
    with pytest.raises(BrokerUnavailable, match="memory: the server is stopped"):
        await hub.start()
    server.start()
    await hub.start()
    await hub.close()


async def test_a_first_use_starts_in_the_background_and_what_is_published_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = BrokerServer()
    server.stop()
    one, two = Hub(broker=server.broker()), Hub(broker=server.broker())
    two.topic("h", history=10)
    client = Client()
    two.subscribe(client, "p")
    await until(lambda: "what is published stays in this process" in caplog.text)
    server.start()
    await two.start()
    await asyncio.sleep(0.1)
    one.publish("p", "1")  # nobody has started this one
    await until(lambda: heard(client) == ["1"])
    assert caplog.text.count("the server is stopped") == 2  # once for each node
    await one.close()
    await two.close()


def test_the_next_loop_begins_anew() -> None:
    """Nothing of the first one is left, and no task, however its loop has ended."""
    server = BrokerServer()
    hub, free = Hub(broker=server.broker()), Hub(broker=server.broker())
    for one in (hub, free):
        one.topic("h", history=10)

    async def in_a_block() -> int:
        async with hub:
            hub.publish("p", "1")
            return (await hub.publish_confirmed("h", "1")).at.offset

    async def without_one() -> int:
        free.publish("p", "2")
        await asyncio.sleep(0.05)
        return (await free.publish_confirmed("h", "2")).at.offset

    for number, use in enumerate((in_a_block, without_one, in_a_block, without_one), 1):
        assert asyncio.run(use()) == number


async def test_a_forked_process_has_nothing_of_it() -> None:
    server = BrokerServer()
    hub = Hub(broker=server.broker())
    client = Client()
    async with hub:
        hub.subscribe(client, "p")
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            theirs.send(b"ok")
            os._exit(0)
        assert ours.recv(2) == b"ok"
        os.waitpid(pid, 0)
        ours.close()
        theirs.close()
        hub.publish("p", "1")
        await until(lambda: heard(client) == ["1"])


async def test_hubs_of_one_process_at_one_broker_have_names() -> None:
    broker = BrokerServer().broker()
    hub = Hub(broker=broker)
    with pytest.raises(ValueError, match="this process has a hub called 'default' already"):
        Hub(broker=broker)
    other = Hub("other", broker=broker)
    async with hub, other:
        assert await other.total("t") == 0
