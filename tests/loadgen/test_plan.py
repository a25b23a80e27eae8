"""Plans that contradict themselves, and the way of a plan to another process."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastws.loadgen.plan import Plan, PlanError, Scenario


def plan(**values: Any) -> Plan:
    return Plan(**{"url": "ws://127.0.0.1:1/", "scenario": Scenario.ECHO, **values})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"clients": 0}, "clients must be at least 1"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"at_once": 0}, "at_once must be at least 1"),
        ({"size": -1}, "may not be negative"),
        ({"duration": 0}, "must be above 0"),
        ({"rate": 0}, "rate must be above 0"),
        ({"clients": 3, "publishers": 4}, "4 of 3 clients cannot publish"),
        ({"clients": 3, "processes": 4}, "3 clients cannot be shared by 4 processes"),
        ({"merged_by": "--"}, "one ASCII character"),
        ({"merged_by": "é"}, "one ASCII character"),
        ({"scenario": Scenario.ROOM, "processes": 2}, "a room needs one process"),
        ({"scenario": Scenario.FANOUT, "size": 8}, "it needs 9 bytes"),
        ({"scenario": Scenario.FANOUT, "message": "hello"}, "write {stamp}"),
        ({"scenario": Scenario.FANOUT, "clients": 4, "publishers": 3, "processes": 2}, "has 2 clients"),
        ({"scenario": Scenario.IDLE, "rate": 1.0}, "idle clients send nothing"),
    ],
)
def test_a_plan_that_contradicts_itself_says_so(values: dict[str, Any], text: str) -> None:
    with pytest.raises(PlanError, match=text):
        plan(**values)


def test_the_shares_add_up_and_differ_by_one_at_most() -> None:
    whole = plan(clients=11, processes=4)
    assert [whole.share(process) for process in range(4)] == [3, 3, 3, 2]


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    whole = plan(
        scenario=Scenario.FANOUT,
        headers=(("a", "b"),),
        subprotocols=("x", "y"),
        rate=10.0,
        merged_by="\n",
        pid=1,
    )
    assert Plan.from_json(orjson.loads(orjson.dumps(whole.to_json()))) == whole
