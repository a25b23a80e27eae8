"""The states of the workers, without processes and with a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.workers.pool import Pool
from fastws.workers.states import Failure, Phase, Rules, State, Worker


class Recorder:
    """Notes what the pool asks for."""

    def __init__(self) -> None:
        self.launched: list[Worker] = []
        self.told: list[tuple[int, str, dict[str, Any]]] = []
        self.ended: list[tuple[int, bool]] = []
        self.lines: list[str] = []
        self.events: list[str] = []

    def launch(self, worker: Worker) -> None:
        worker.pid = 1000 + worker.id
        self.launched.append(worker)

    def tell(self, worker: Worker, kind: str, /, **values: Any) -> None:
        self.told.append((worker.id, kind, values))

    def end(self, worker: Worker, *, at_once: bool) -> None:
        self.ended.append((worker.id, at_once))

    def say(self, level: str, text: str) -> None:
        self.lines.append(f"{level}: {text}")

    def serving(self) -> None:
        self.events.append("serving")

    def reloading(self) -> None:
        self.events.append("reloading")

    def reloaded(self) -> None:
        self.events.append("reloaded")


def running(workers: int = 2, **rules: Any) -> tuple[Pool, Recorder]:
    """A pool whose first workers are ready at 0."""
    seen = Recorder()
    pool = Pool(workers, Rules(**rules), seen, draw=lambda: 0.0)
    pool.start(0.0)
    for worker in list(pool.workers):
        pool.ready(worker, 0.0)
    assert pool.phase is Phase.RUNNING
    return pool, seen


def kinds(seen: Recorder, kind: str) -> list[int]:
    return [worker for worker, told, _ in seen.told if told == kind]


def test_it_serves_when_all_are_ready_and_one_leads() -> None:
    seen = Recorder()
    pool = Pool(2, Rules(), seen)
    pool.start(0.0)
    pool.ready(pool.workers[0], 0.0)
    assert seen.events == []
    pool.ready(pool.workers[1], 0.0)
    assert seen.events == ["serving"]
    assert seen.told == [(1, "lead", {"value": True})]


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (None, 3, "worker 1 was ended by SIGSEGV before it was ready"),
        (Failure("cannot import x", 3), 3, "cannot import x"),
        (Failure("no module:attr", 2), 2, "no module:attr"),
    ],
)
def test_a_worker_that_cannot_start_ends_all(failure: Failure | None, code: int, text: str) -> None:
    seen = Recorder()
    pool = Pool(2, Rules(), seen)
    pool.start(0.0)
    first, second = pool.workers
    if failure:
        pool.failed(first, failure)
    pool.exited(first, -11, 0.0)
    assert seen.ended == [(2, False)]
    pool.exited(second, -15, 0.1)
    assert (pool.phase, pool.exit_code) == (Phase.ENDED, code)
    assert pool.failure is not None and pool.failure.text == text
    pool.tick(1.0)
    assert len(seen.launched) == 2


def test_the_first_restart_is_immediate_and_later_ones_back_off() -> None:
    pool, seen = running()
    delays = []
    now = 1.0
    for _ in range(5):
        before, crashed_at = len(seen.launched), now
        pool.exited(pool.workers[-1], -9, now)
        while len(seen.launched) == before:
            now += 0.25
            pool.tick(now)
        delays.append(now - crashed_at)
        pool.ready(pool.workers[-1], now)
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]
    # The third says that it is a loop, and then there is a line a minute.
    assert len([line for line in seen.lines if line.startswith("error: ")]) == 3


def test_a_crash_does_not_hold_back_the_restart_after_another_one() -> None:
    pool, seen = running(4)
    for worker in list(pool.workers[:3]):
        pool.exited(worker, -9, 1.0)
    assert len(seen.launched) == 5
    pool.tick(1.5)
    assert len(seen.launched) == 6
    pool.tick(2.0)
    assert len(seen.launched) == 7


def test_after_a_calm_minute_a_crash_is_the_first_again() -> None:
    pool, seen = running()
    for now in (1.0, 100.0, 200.0):
        for each in pool.workers:
            pool.beat(each, now)
        pool.exited(pool.workers[-1], -9, now)
        assert len(pool.workers) == 2
        pool.ready(pool.workers[-1], now)
    assert len(seen.launched) == 5


def test_the_lead_moves_when_the_leader_dies() -> None:
    pool, seen = running()
    pool.exited(pool.workers[0], -9, 1.0)
    assert seen.told[-1] == (2, "lead", {"value": True})


def leads(seen: Recorder) -> list[tuple[int, bool]]:
    return [(worker, values["value"]) for worker, kind, values in seen.told if kind == "lead"]


@pytest.mark.parametrize("is_dead", [True, False])
def test_the_next_one_leads_when_the_leader_has_resigned_or_is_dead(*, is_dead: bool) -> None:
    pool, seen = running()
    first, second = pool.workers
    pool.leaving(first, 1.0)
    assert leads(seen) == [(1, True), (1, False)]
    pool.ready(pool.workers[-1], 1.5)
    pool.tick(2.0)
    pool.resigned(second, 2.0)  # it has led nothing
    assert leads(seen) == [(1, True), (1, False)]
    if is_dead:
        pool.exited(first, -9, 3.0)
    else:
        pool.resigned(first, 3.0)
    assert leads(seen) == [(1, True), (1, False), (2, True)]
    pool.tick(4.0)
    assert len(leads(seen)) == 3


def test_a_reload_lets_one_lead_that_stays() -> None:
    pool, seen = running()
    pool.reload(1.0)
    first, _, third = pool.workers
    pool.ready(third, 2.0)
    pool.resigned(first, 2.5)
    assert leads(seen) == [(1, True), (1, False), (3, True)]
    pool.ready(pool.workers[-1], 3.0)
    assert len(leads(seen)) == 3


def test_a_hang_is_ended_but_not_a_slow_import() -> None:
    pool, seen = running(hang_timeout=30.0)
    first, second = pool.workers
    pool.exited(second, -9, 1.0)
    for now in (10.0, 29.0):
        pool.beat(first, now)
    pool.tick(58.0)
    assert seen.ended == []
    pool.tick(59.0)
    assert seen.ended == [(first.id, True)]
    assert any("is not ready after" in line for line in seen.lines)


def test_a_reload_replaces_one_after_the_other() -> None:
    pool, seen = running()
    pool.reload(1.0)
    assert [worker.id for worker in seen.launched] == [1, 2, 3]
    assert kinds(seen, "drain") == []
    pool.ready(pool.workers[-1], 2.0)
    assert kinds(seen, "drain") == [1]
    assert seen.launched[-1].id == 4
    pool.ready(pool.workers[-1], 3.0)
    assert kinds(seen, "drain") == [1, 2]
    assert seen.events == ["serving", "reloading", "reloaded"]
    for worker in pool.workers[:2]:
        assert worker.state is State.LEAVING
        pool.exited(worker, 0, 4.0)
    assert [worker.id for worker in pool.workers] == [3, 4]


def test_a_reload_that_fails_keeps_the_old_ones() -> None:
    pool, seen = running()
    pool.reload(1.0)
    new = pool.workers[-1]
    pool.failed(new, Failure("cannot import app"))
    pool.exited(new, 3, 2.0)
    pool.tick(3.0)
    assert kinds(seen, "drain") == [] and len(pool.workers) == 2
    assert "the 2 that serve stay: cannot import app" in seen.lines[-1]
    assert seen.events[-1] == "reloaded"


def test_a_second_reload_gives_up_a_successor_that_hangs() -> None:
    pool, seen = running(1)
    pool.reload(1.0)
    pool.reload(2.0)
    assert seen.ended == [(2, True)]
    pool.exited(pool.workers[1], -9, 2.5)
    pool.ready(pool.workers[-1], 3.0)
    assert kinds(seen, "drain") == [1]


def test_one_more_and_one_fewer() -> None:
    pool, seen = running()
    pool.grow(1, 1.0)
    pool.ready(pool.workers[-1], 1.0)
    pool.grow(-1, 2.0)
    assert kinds(seen, "drain") == [3]
    for _ in range(5):
        pool.grow(-1, 3.0)
    assert (pool.wanted, kinds(seen, "drain")) == (1, [3, 2])


def test_who_does_not_leave_in_time_is_ended() -> None:
    pool, seen = running(1, grace=10.0)
    pool.stop(0.0, spread=5.0)
    assert seen.told[-1] == (1, "stop", {"grace": 10.0, "spread": 5.0})
    pool.beat(pool.workers[0], 10.0)
    pool.tick(10.9)
    assert seen.ended == []
    pool.tick(11.0)
    assert seen.ended == [(1, True)]


@pytest.mark.parametrize(("rss", "ended"), [(100, False), (101, False), (151, True)])
def test_memory(rss: int, ended: bool) -> None:
    pool, seen = running(1, max_rss=100)
    pool.memory(pool.workers[0], rss, 60.0)
    assert (len(seen.launched) == 2) is (rss == 101)
    assert bool(seen.ended) is ended


@pytest.mark.parametrize("is_ready_first", [True, False])
def test_workers_that_all_need_more_memory_do_not_replace_each_other_without_end(
    *, is_ready_first: bool
) -> None:
    """The successor exceeds the limit when it is ready, or already while it starts."""
    pool, seen = running(1, max_rss=100)
    for now in range(1, 241):
        youngest = pool.workers[-1]
        if youngest.state is State.STARTING and is_ready_first:
            pool.ready(youngest, float(now))
        for worker in list(pool.workers):
            pool.memory(worker, 101, float(now))
            if worker.is_killed:
                pool.exited(worker, -9, float(now))
    # One new worker a minute, each with its line.
    assert len(seen.launched) in (1 + 3, 1 + 4)
    assert len([line for line in seen.lines if "a new one takes its place" in line]) == len(seen.launched) - 1


def test_recycling_by_age_and_by_messages() -> None:
    pool, seen = running(1, max_lifetime=10.0, max_messages=100)
    pool.beat(pool.workers[0], 5.0, messages=99)
    pool.tick(9.0)
    assert len(seen.launched) == 1
    pool.tick(10.0)
    pool.ready(pool.workers[-1], 10.0)
    assert kinds(seen, "drain") == [1]
    pool.beat(pool.workers[-1], 11.0, messages=100)
    assert len(seen.launched) == 3
