"""The generator processes: their limits and their ends."""

from __future__ import annotations

import resource
import sys
import time

import pytest

from fastws.loadgen.fleet import Fleet, raise_descriptor_limit
from fastws.loadgen.plan import LoadgenError, Plan, Scenario
from fastws.loadgen.target import resolve
from tests.loadgen.servers import echo, websockets_server

HARD = 1000


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is asked of the system, whose limits are 100 and 1,000."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, HARD))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: asked.append(pair))
    return asked


def plan(clients: int, **values: int) -> Plan:
    return Plan(url="ws://127.0.0.1:1/", scenario=Scenario.IDLE, clients=clients, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("clients", "processes", "asked"), [(50, 1, []), (500, 1, [(HARD, HARD)]), (1500, 2, [(HARD, HARD)])]
)
def test_the_soft_limit_is_raised_when_it_must_be(
    limits: list[tuple[int, int]], clients: int, processes: int, asked: list[tuple[int, int]]
) -> None:
    raise_descriptor_limit(plan(clients, processes=processes))
    assert limits == asked


def test_the_hard_limit_is_told_and_how_to_raise_it(limits: list[tuple[int, int]]) -> None:
    with pytest.raises(
        LoadgenError, match=r"the hard limit is 1,000: raise it \(ulimit.*--processes 3"
    ) as told:
        raise_descriptor_limit(plan(2000))
    assert "2,000 clients in one process need 2,032 file descriptors" in str(told.value)
    assert limits == []


def test_a_limit_may_be_infinite(monkeypatch: pytest.MonkeyPatch, limits: list[tuple[int, int]]) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, resource.RLIM_INFINITY))
    raise_descriptor_limit(plan(500))
    assert limits == [(532, resource.RLIM_INFINITY)]


def wait_for(fleet: Fleet, event: str) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for _, said in fleet.events(1.0):
            if said["event"] == event:
                return said
    raise AssertionError(f"no {event}")


@pytest.mark.live
def test_processes_end_with_the_context_in_the_middle_of_everything() -> None:
    with websockets_server(echo) as url:
        with Fleet(Plan(url=url, scenario=Scenario.ECHO, clients=4, processes=2), (resolve(url),)) as fleet:
            processes = list(fleet._processes)
            wait_for(fleet, "opened")
            now = time.monotonic_ns()
            fleet.command("run", begin=now, start=now, end=now + 60 * 10**9)
            wait_for(fleet, "progress")
        assert [process.returncode for process in processes] == [0, 0]


@pytest.mark.live
def test_a_process_that_dies_is_told() -> None:
    with websockets_server(echo) as url:
        whole = Plan(url=url, scenario=Scenario.ECHO, clients=1)
        with (
            pytest.raises(LoadgenError, match="a generator process ended with status -9"),
            Fleet(whole, (resolve(url),)) as fleet,
        ):
            wait_for(fleet, "opened")
            fleet._processes[0].kill()
            wait_for(fleet, "never")


def test_a_process_that_cannot_start_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(FileNotFoundError):
        Fleet(plan(1), (resolve("ws://127.0.0.1:1/"),))
