"""Ramps against servers with an artificial limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.ramp import Growth, Operator, Quantity, Ramp, load_text, parse_growth, ramp_up
from fastws.loadgen.result import Result
from fastws.loadgen.thresholds import parse_threshold
from fastws.loadgen.validity import Load
from tests.loadgen.results import result

PLAN = Plan(url="ws://127.0.0.1:1/", scenario=Scenario.ECHO, clients=100)
P99 = [parse_threshold("p99=50ms")]


def holds_clients(limit: int) -> Callable[[Plan], Result]:
    """A server whose latency breaks beyond ``limit`` clients."""
    return lambda plan: result(plan, p99=10.0 if plan.clients <= limit else 80.0)


def ramp(plan: Plan, growth: str | None, run: Callable[[Plan], Result], **more: Any) -> Ramp:
    return Ramp(
        list(
            ramp_up(
                plan,
                more.get("thresholds", P99),
                parse_growth(growth) if growth else None,
                run=run,
                max_steps=20,
            )
        )
    )


def test_the_limit_is_found_to_one_step() -> None:
    found = ramp(PLAN, "clients+50", holds_clients(330))
    assert [step.plan.clients for step in found.steps] == [100, 150, 200, 250, 300, 350]
    assert [step.holds for step in found.steps] == [True] * 5 + [False]
    assert found.best is found.steps[-2]
    assert found.verdict == "this server holds 300 clients at 100 messages a second"
    assert found.steps[-1].failures == ["p99 at most 50 ms: it was 80.02 ms"]


def test_by_default_clients_grow_by_half_and_with_a_rate_the_rate_does() -> None:
    assert [step.plan.clients for step in ramp(PLAN, None, holds_clients(200)).steps] == [100, 150, 225]
    with_rate = replace(PLAN, rate=1000.0)
    limit = ramp(with_rate, None, lambda plan: result(plan, p99=(plan.rate or 0) / 40)).steps
    assert [step.plan.rate for step in limit] == [1000.0, 1500.0, 2250.0]


def test_a_first_step_that_breaks_holds_nothing() -> None:
    found = ramp(PLAN, None, holds_clients(1))
    assert found.best is None
    assert found.verdict == "this server does not hold the first step"


def test_the_end_of_the_steps_is_not_the_servers_limit() -> None:
    found = ramp(PLAN, "clients+1", holds_clients(10**9))
    assert len(found.steps) == 20
    assert found.verdict.endswith("119 clients at 100 messages a second, and more was not tried")


def test_lost_clients_and_messages_break_a_step() -> None:
    lost = ramp(PLAN, None, lambda plan: result(plan, errors=[(5, 1001, 3)]))
    assert lost.steps[0].failures == ["closed by the server with 1001 (3)"]
    dropped = ramp(PLAN, None, lambda plan: result(plan, received=90))
    assert dropped.steps[0].failures == ["only 90.00% of what was expected arrived"]
    named = ramp(
        PLAN, "clients*100", lambda plan: result(plan, received=90), thresholds=[parse_threshold("reach=0.9")]
    )
    assert named.steps[0].holds


def test_a_saturated_generator_is_not_taken_for_the_server() -> None:
    def run(plan: Plan) -> Result:
        busy = plan.clients > 150
        return result(plan, p99=99.0 if busy else 1.0, load=Load(1.0, 0.99 if busy else 0.4, 0.0))

    found = ramp(PLAN, None, run)
    assert found.steps[-1].failures[0].startswith("generator saturated")
    assert found.verdict.endswith("and may hold more: the next step was the generator's own limit")


def test_a_step_that_cannot_begin_ends_the_ramp() -> None:
    def run(plan: Plan) -> Result:
        if plan.clients > 100:
            raise LoadgenError("too few file descriptors")
        return result(plan)

    found = ramp(PLAN, None, run)
    assert found.verdict.endswith("the next step could not begin: too few file descriptors")
    with pytest.raises(LoadgenError):
        ramp(replace(PLAN, clients=200), None, run)


def test_an_interrupted_step_is_no_verdict() -> None:
    def run(plan: Plan) -> Result:
        made = result(plan)
        made.interrupted = True
        return made

    with pytest.raises(KeyboardInterrupt):
        ramp(PLAN, None, run)


def test_a_rate_cannot_grow_out_of_nothing() -> None:
    with pytest.raises(PlanError, match="need a --rate"):
        ramp(PLAN, "rate*2", holds_clients(1))


@pytest.mark.parametrize(
    ("text", "growth"),
    [
        ("clients+100", Growth(Quantity.CLIENTS, Operator.PLUS, 100.0)),
        ("rate*1.5", Growth(Quantity.RATE, Operator.TIMES, 1.5)),
        ("ratex2", Growth(Quantity.RATE, Operator.TIMES, 2.0)),
    ],
)
def test_a_growth_is_read(text: str, growth: Growth) -> None:
    assert parse_growth(text) == growth


@pytest.mark.parametrize("text", ["clients", "size+1", "rate*1", "clients+0", "rate-5", "clients*0.5"])
def test_what_does_not_grow_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="so that the load grows"):
        parse_growth(text)


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        (Scenario.IDLE, "100 clients that are idle"),
        (Scenario.CONNECT, "100 handshakes a second"),
        (Scenario.ROOM, "a room of 100 clients at 0.0 rounds a second"),
        (Scenario.FANOUT, "100 clients at 100 messages a second"),
    ],
)
def test_every_scenario_has_its_words(scenario: Scenario, text: str) -> None:
    plan = replace(PLAN, scenario=scenario)
    step = next(ramp_up(plan, [], run=lambda plan: result(plan)))
    assert load_text(step) == text
