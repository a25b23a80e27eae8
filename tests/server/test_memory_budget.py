"""A budget over what waits for all clients and what topics keep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from fastws import Feed, Hub, Limits, Route, anyone
from fastws.asgi.sink import open_sink
from fastws.pubsub.kept import HUBS
from fastws.server.memory_budget import LOG_INTERVAL
from fastws.testing.wire import BINARY
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import served, stall

BUDGET = 1_000_000
#: So long after something has changed it has been looked at.
SECONDS = 2.0


@pytest.fixture(autouse=True)
def _no_hub_of_another_test() -> Iterator[None]:
    """Hubs of other tests count until they are collected."""
    others = list(HUBS)
    HUBS.clear()
    yield
    HUBS.update(others)


class Room:
    """A server with a budget, and clients that do not read, for each of which so many bytes wait."""

    def __init__(self, loop: ManualLoop, budget: int | None = BUDGET) -> None:
        self.loop = loop
        self.handler = Recorder()
        limits = {"send_queue_bytes": 10 * BUDGET, "send_queue": 1000}
        timeouts = {"ping_interval": None, "write": None}
        self.server = served(loop, self.handler, memory_budget=budget, limits=limits, timeouts=timeouts)
        self.clients: list[RawClient] = []

    def add(self, *sizes: int) -> None:
        for size in sizes:
            client = RawClient(self.server, self.loop)
            client.upgrade("/")
            self.clients.append(client)
            stall(self.loop, client, self.handler.sockets[-1])
            if size:
                self.handler.sockets[-1].send_nowait(bytes(size))

    def evicted(self) -> list[int]:
        return [number for number, ws in enumerate(self.handler.sockets) if ws.closed]


@pytest.mark.parametrize(
    ("sizes", "evicted"),
    [
        ([300_000, 300_000, 300_000], []),
        ([300_000, 600_000, 300_000], [1]),
        ([300_000, 600_000, 500_000, 400_000], [1, 2]),
        ([5_000_000, 0, 0], [0]),
        ([0, 400_000, 500_000, 0, 450_000], [2]),
    ],
)
def test_the_clients_with_most_are_evicted(sizes: list[int], evicted: list[int], loop: ManualLoop) -> None:
    room = Room(loop)
    room.add(*sizes)
    assert room.evicted() == []
    loop.advance(SECONDS)
    assert room.evicted() == evicted
    assert room.handler.closes() == [(1008, "memory budget")] * len(evicted)
    assert room.server.counters.evicted == len(evicted)


def test_who_is_let_stay_has_everything(loop: ManualLoop) -> None:
    room = Room(loop)
    room.add(600_000, 500_000)
    loop.advance(SECONDS)
    _, client = room.clients
    client.read()
    loop.settle()
    assert [len(one.payload) for one in client.frames() if one.opcode == BINARY] == [500_000]


def test_a_message_that_waits_for_many_counts_once(loop: ManualLoop) -> None:
    room = Room(loop)
    room.add(*[0] * 50)
    hub = Hub()
    for ws in room.handler.sockets:
        hub.subscribe(ws, "t")
    for _ in range(9):
        hub.publish("t", "x" * 100_000)
        loop.settle()
    loop.advance(SECONDS)
    assert room.evicted() == []
    # One client's own are too many, and then another's; what all wait for stays until the last one goes.
    room.handler.sockets[7].send_nowait(bytes(200_000))
    loop.advance(SECONDS)
    assert room.evicted() == [7]
    for _ in range(2):
        hub.publish("t", "x" * 100_000)
        loop.settle()
    loop.advance(SECONDS)
    assert len(room.evicted()) == 50


class Foreign:
    """A WebSocket of another framework, whose ``send`` never returns."""

    def __init__(self, hub: Hub) -> None:
        self.codes: list[int] = []
        self.outbox = open_sink(self.send, self.close, Limits(send_queue_bytes=10 * BUDGET)).outbox
        hub.subscribe(self, "t")

    async def send(self, message: object) -> None:
        await asyncio.get_running_loop().create_future()

    async def close(self, code: int, reason: str) -> None:
        self.codes.append(code)


def test_clients_of_other_frameworks_count(loop: ManualLoop) -> None:
    room = Room(loop)
    room.add(300_000, 200_000)
    hub = Hub()
    clients = [Foreign(hub) for _ in range(2)]
    hub.publish("t", "the one that send has")
    for _ in range(4):
        loop.settle()
        hub.publish("t", "x" * 100_000)
    loop.advance(SECONDS)
    assert (room.evicted(), [client.codes for client in clients]) == (
        [],
        [[], []],
    )  # counts once
    hub.publish("t", "x" * 200_000)
    loop.advance(SECONDS)
    # To let one of them go frees nothing as long as the other one waits for the same.
    assert (room.evicted(), [client.codes for client in clients]) == ([], [[1008], [1008]])
    assert hub.count("t") == 0


def test_one_that_another_loop_serves_is_left_alone(loop: ManualLoop) -> None:
    room = Room(loop)
    room.add(0)
    with ManualLoop() as other:  # type: ignore[abstract]
        hub = Hub()
        client = Foreign(hub)
        for _ in range(3):
            hub.publish("t", "x" * BUDGET)
            other.settle()
        room.server._budget.look()  # type: ignore[union-attr]
        assert client.codes == [] and hub.count("t") == 1


def test_server_sent_events_count(loop: ManualLoop) -> None:
    hub = Hub()
    feed = Feed(hub, may_subscribe=anyone)
    server = served(
        loop, Route("/", feed, http=feed.sse), memory_budget=BUDGET // 2, timeouts={"write": None}
    )
    reads, stalls = RawClient(server, loop), RawClient(server, loop)
    for client in (reads, stalls):
        client.get("/?topic=t")
        loop.settle()
    stalls.stall(1000)
    for _ in range(15):
        hub.publish("t", "x" * 50_000)
        loop.settle()
        reads.transport.take_sent()
    assert hub.count("t") == 2
    loop.advance(SECONDS)
    assert hub.count("t") == 1
    hub.publish("t", "the last one")
    loop.settle()
    assert b"the last one" in reads.transport.take_sent()


@pytest.mark.parametrize("keyed", [False, True])
def test_what_topics_keep_counts(keyed: bool, loop: ManualLoop) -> None:
    room = Room(loop)
    hub = Hub()
    if keyed:
        hub.topic("t", mode="keyed")
    else:
        hub.topic("t", history=100)
    room.add(300_000, 200_000)
    for number in range(6):
        key = {"key": str(number)} if keyed else {}
        hub.publish("t", f'"{"x" * 100_000}"', **key)
        loop.settle()
    assert 600_000 < hub.kept_bytes() < 610_000
    loop.advance(SECONDS)
    assert room.evicted() == [0]
    del hub


def test_nobody_is_evicted_for_what_topics_keep_alone(
    loop: ManualLoop, caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(loop)
    room.add(0)
    hub = Hub()
    hub.topic("t", history=100, history_bytes=10_000_000)
    for _ in range(11):
        hub.publish("t", "x" * 100_000)
    client = RawClient(room.server, loop)
    client.upgrade("/")
    loop.advance(SECONDS)
    # Who has something waiting goes; who reads stays.
    assert room.evicted() == [0]
    loop.advance(2 * LOG_INTERVAL)
    assert room.evicted() == [0]
    assert "topics keep 1100110 bytes" in caplog.text
    del hub


def test_a_line_of_the_log_once_a_minute(loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
    room = Room(loop)
    with caplog.at_level(logging.WARNING, "fastws.error"):
        for _ in range(10):
            room.add(900_000, 900_000)
            loop.advance(SECONDS)
        assert len(caplog.records) == 1
        loop.advance(2 * LOG_INTERVAL)
    first, second = [record.getMessage() for record in caplog.records]
    begin = "over the memory budget of 1000000 bytes: evicted"
    assert first.startswith(f"{begin} 1 clients, for one of which 9000")
    assert second.startswith(f"{begin} 18 clients, for one of which 9000")


def test_it_is_off_by_default_and_ends_with_its_server(loop: ManualLoop) -> None:
    room = Room(loop, None)
    room.add(9_000_000)
    loop.advance(SECONDS)
    assert room.evicted() == []
    timers = len(loop.timers)
    other = Room(loop)
    assert len(loop.timers) == timers + 1
    loop.run(other.server.shutdown(0))
    assert len(loop.timers) == timers
