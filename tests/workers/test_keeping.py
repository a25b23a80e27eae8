"""The supervisor's part in the keeper, with a process that is none and a clock that the test moves."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from fastws.meters.board import Board
from fastws.meters.meters import Meters
from fastws.pubsub.bus.receiving import FIRST_GATEWAY
from fastws.workers.control import Channel
from fastws.workers.keeping import END_SECONDS, Keeping
from fastws.workers.states import KEEPER_ROW, ROWS, Worker


class Process:
    """A process as ``Popen`` has it, and its end of the control pair."""

    def __init__(self, number: int) -> None:
        self.pid = number
        self.returncode: int | None = None
        ours, theirs = socket.socketpair()
        self.given = Channel(theirs)
        self.channel = Channel(ours)
        self.kills = 0
        self.hangs = False
        self.waits: list[float | None] = []

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.kills += 1

    def wait(self, timeout: float | None = None) -> None:
        self.waits.append(timeout)
        if timeout is not None and self.hangs:
            raise subprocess.TimeoutExpired("keeper", timeout)
        self.returncode = 0 if timeout is not None else -9

    def die(self, status: int) -> None:
        self.returncode = status
        self.channel.close()

    def said(self) -> list[tuple[str, Any]]:
        found = []
        for message in self.channel.receive():
            found.append((message.kind, message.values.get("worker")))
            for fd in message.fds:
                socket.socket(fileno=fd).close()
        return found


class Site:
    """A supervisor's surroundings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **hello: object) -> None:
        self.processes: list[Process] = []
        #: How many lines each worker was given, and what the gateway is called on the bus.
        self.lines: list[tuple[int, int]] = []
        self.told: list[tuple[int, str, int]] = []
        self.ended: list[int] = []
        self.workers = [Worker(1, 0, 0.0), Worker(2, 1, 0.0)]
        self.fails = False
        monkeypatch.setattr("fastws.workers.keeping.start_child", self._start)
        self.selector = selectors.DefaultSelector()
        self.keeping = Keeping(
            "no.module",
            {"options": {}, **hello},
            self.selector,
            30.0,
            workers=lambda: self.workers,
            tell=self._tell,
            misbehaved=lambda worker, what: self.ended.append(worker.id),
        )

    def _start(self, module: str) -> tuple[Any, Channel]:
        if self.fails:
            raise OSError("no more processes")
        process = Process(len(self.processes) + 1)
        self.processes.append(process)
        return process, process.given

    def _tell(self, worker: Worker, kind: str, fds: list[int], *, number: int, gateway: int = 0) -> None:
        self.told.append((worker.id, kind, number))
        self.lines.append((len(fds), gateway))
        for fd in fds:
            socket.socket(fileno=fd).close()

    def close(self) -> None:
        self.keeping.close()
        self.selector.close()
        for process in self.processes:
            process.channel.close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(monkeypatch)
    yield made
    made.close()


def test_it_is_started_when_somebody_wants_it_and_once(site: Site) -> None:
    site.keeping.tick(0.0)
    site.keeping.join(site.workers[0])
    assert not site.processes and not site.told
    for _ in range(3):
        site.keeping.want(1.0)
    [process] = site.processes
    assert process.said() == [("hello", None), ("worker", 1), ("worker", 2)]
    assert site.told == [(1, "keeper", 1), (2, "keeper", 1)]
    site.workers.append(Worker(3, 2, 0.0))
    site.keeping.join(site.workers[2])
    assert process.said() == [("worker", 3)]
    assert site.told[2:] == [(3, "keeper", 1)]


def test_a_gateway_is_there_from_the_beginning_and_has_two_lines_to_each_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(monkeypatch, broker="redis://h", node="n")
    site.keeping.begin(0.0)
    [process] = site.processes
    assert process.said() == [("hello", None), ("worker", 1), ("worker", 2)]
    process.die(-9)
    site.keeping.read(1.0)
    site.keeping.tick(1.0)
    (count, first), _, (_, second), _ = site.lines
    assert count == 2 and FIRST_GATEWAY <= first != second
    assert "nothing goes to other nodes and nothing comes from them" in caplog.text
    site.close()


@pytest.mark.parametrize("hangs", [False, True])
def test_a_gateway_may_hand_over_what_waits_when_the_server_ends(
    monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    site = Site(monkeypatch, broker="redis://h", node="n")
    site.keeping.begin(0.0)
    [process] = site.processes
    process.hangs = hangs
    site.keeping.close()
    assert process.said()[-1] == ("end", None)
    assert process.waits == [END_SECONDS, None] and process.kills == 1
    site.close()


def test_a_keeper_without_a_broker_has_nothing_to_hand_over(site: Site) -> None:
    site.keeping.want(0.0)
    [process] = site.processes
    site.keeping.close()
    assert process.waits == [None] and ("end", None) not in process.said()


def test_nobody_is_started_without_need(site: Site) -> None:
    site.keeping.begin(0.0)
    assert not site.processes


def test_it_is_started_again_at_once_and_then_with_pauses(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.keeping.want(0.0)
    site.processes[0].die(-9)
    site.keeping.read(1.0)
    site.keeping.tick(1.0)
    assert len(site.processes) == 2 and site.told[2:] == [(1, "keeper", 2), (2, "keeper", 2)]
    assert "was ended by SIGKILL; a new one starts; its topics begin a new epoch" in caplog.text
    site.processes[1].die(1)
    site.keeping.tick(2.0)
    site.keeping.tick(2.4)
    assert len(site.processes) == 2
    site.keeping.tick(2.5)
    assert len(site.processes) == 3


def test_one_that_cannot_be_started_is_tried_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.fails = True
    site.keeping.want(0.0)
    site.keeping.tick(0.0)
    assert "no process can be started: no more processes" in caplog.text
    site.fails = False
    site.keeping.tick(10.0)
    assert len(site.processes) == 1


def test_one_that_hangs_is_ended(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.keeping.want(0.0)
    [process] = site.processes
    process.channel.send("beat")
    site.keeping.read(20.0)
    site.keeping.tick(49.0)
    assert not process.kills
    site.keeping.tick(50.0)
    assert process.kills == 1 and "no sign of life for 30 s" in caplog.text


def test_who_makes_no_sense_is_ended(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.keeping.want(0.0)
    [process] = site.processes
    process.channel.send("dropped", worker=2)
    process.channel.send("dropped", worker=9)
    site.keeping.read(1.0)
    assert site.ended == [2]
    site.keeping.failed(0, "worker 1")
    assert not process.kills
    site.keeping.failed(1, "worker 1")
    assert process.kills == 1 and "makes no sense of what the keeper" in caplog.text
    process.channel.send("dropped")
    site.keeping.read(2.0)
    assert process.kills == 2 and "sends nonsense" in caplog.text


def test_it_measures_in_a_row_of_its_own_that_is_cleared(site: Site) -> None:
    board = Board.create(ROWS)
    site.keeping._board = board
    assert site.keeping.pid is None
    site.keeping.want(0.0)
    assert site.keeping.pid == 1
    hello, *others = site.processes[0].channel.receive()
    theirs = Board.attach(hello.fds.pop())
    for message in others:
        for fd in message.fds:
            os.close(fd)
    Meters(theirs, KEEPER_ROW).set(1, "broker_up", "redis")
    (up,) = [series for series in board.series() if series.name == "broker_up"]
    assert board.sums(up) == [1]
    site.processes[0].die(-9)
    site.keeping.tick(1.0)
    assert board.sums(up) == [0]
    for each in (board, theirs):
        each.close()
