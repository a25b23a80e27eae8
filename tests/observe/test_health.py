"""``/livez`` and ``/readyz`` on the operator's listener, and what is sampled for it."""

from __future__ import annotations

import asyncio
import socket
import time
from http.client import HTTPConnection
from typing import Any

import pytest

from fastws.meters.board import Board
from fastws.meters.histogram import BOUNDS
from fastws.meters.meters import Meters
from fastws.observe.health import Health, broker_is_up
from fastws.observe.listener import listening, operator_routes
from fastws.observe.sampling import LOOKS_A_QUESTION, sampling
from fastws.server.shared_page import SharedPage
from fastws.workers.states import Phase, State, Worker
from fastws.workers.watch import Watch


def got(port: int, path: str) -> tuple[int, bytes]:
    client = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


async def test_reasons_are_told() -> None:
    lives: list[str | None] = [None]
    ready: list[str | None] = ["it starts"]
    health = Health([lambda: lives[0]], [lambda: ready[0]])
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    async with listening(operator_routes(health, None), [sock]):
        for path, status, body in (
            ("/livez", 200, b"ok\n"),
            ("/readyz", 503, b"not ready: it starts\n"),
            ("/metrics", 404, None),
        ):
            found = await asyncio.to_thread(got, port, path)
            assert found[0] == status and body in (None, found[1])
        ready[0] = None
        assert await asyncio.to_thread(got, port, "/readyz") == (200, b"ready\n")
        lives[0] = "it hangs"
        assert await asyncio.to_thread(got, port, "/livez") == (503, b"not ready: it hangs\n")
        assert (await asyncio.to_thread(got, port, "/readyz"))[0] == 503


def test_a_broker_that_is_required() -> None:
    board = Board.private()
    assert broker_is_up(board) == "the broker is away"
    meters = Meters(board)
    for up, said in ((0, "the broker is away"), (1, None), (0, "the broker is away")):
        meters.set(up, "broker_up", "redis")
        assert broker_is_up(board) == said


class Pool:
    phase = Phase.STARTING

    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)


class Keeping:
    pid: int | None = None


def test_when_workers_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    monkeypatch.setattr("fastws.workers.watch.Watchdog.beat", lambda self, now: beats.append(now))
    pool: Any = Pool(Worker(1, 0, 0.0, State.READY, pid=4), Worker(2, 1, 0.0))
    keeping: Any = Keeping()
    watch = Watch(pool, SharedPage.create(2), keeping)
    watch.turn()
    assert watch.why_not_ready() == "it starts" and not beats
    pool.phase = Phase.RUNNING
    watch.turn()
    assert watch.why_not_ready() is None and beats == [watch.turned]
    assert watch.states() == {"starting": 1, "ready": 1, "leaving": 0}
    keeping.pid = 9
    assert watch.pids()[1:] == [4, 9]
    pool.workers[0].state = State.LEAVING
    assert watch.why_not_ready() == "no worker serves"
    pool.phase = Phase.STOPPING
    assert watch.why_not_ready() == "it drains"


class Bus:
    """Answers nobody."""

    peers = (1,)

    def __init__(self) -> None:
        self.asked = 0

    async def total(self, key: bytes, here: int, timeout: float) -> int:
        self.asked += 1
        raise TimeoutError


async def test_the_loop_and_the_bus_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.observe.sampling.LOOK_SECONDS", 0.0)
    board = Board.private()
    bus: Any = Bus()
    async with sampling(Meters(board), bus):
        while not bus.asked:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    found = {series.name: board.sums(series) for series in board.series()}
    assert sum(found["loop_lag"][: len(BOUNDS) + 1]) >= LOOKS_A_QUESTION
    assert sum(found["bus_lag"][: len(BOUNDS) + 1]) >= 1


async def test_a_hang_of_the_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.observe.sampling.LOOK_SECONDS", 0.001)
    board = Board.private()
    async with sampling(Meters(board)):
        await asyncio.sleep(0)
        time.sleep(0.06)  # the loop stands
        await asyncio.sleep(0.01)
    (lag,) = [board.sums(series) for series in board.series() if series.name == "loop_lag"]
    assert lag[-1] >= 50_000_000
