"""Raises the load step by step until the server misses a threshold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.result import Result
from fastws.loadgen.thresholds import Threshold, missed_thresholds

__all__ = ["Growth", "Operator", "Quantity", "Ramp", "Step", "parse_growth", "ramp_up"]

_GROWTH = re.compile(r"(clients|rate)\s*([+*x])\s*([0-9]+(?:\.[0-9]+)?)")
#: Where no threshold names reach: a server that drops more messages than this does not hold the load.
MIN_REACH = 0.999


class Quantity(StrEnum):
    """What grows from step to step."""

    CLIENTS = "clients"
    RATE = "rate"


class Operator(StrEnum):
    """How it grows."""

    PLUS = "+"
    TIMES = "*"


@dataclass(frozen=True, slots=True)
class Growth:
    """How one step differs from the one before: ``clients+100`` or ``rate*1.5``."""

    quantity: Quantity
    operator: Operator
    operand: float

    def next(self, plan: Plan) -> Plan:
        """Return the plan of the next step. Raises PlanError where a rate has to grow that is not there."""
        now = plan.clients if self.quantity is Quantity.CLIENTS else plan.rate
        if now is None:
            raise PlanError("steps of the rate need a --rate to begin with")
        value = now * self.operand if self.operator is Operator.TIMES else now + self.operand
        if self.quantity is Quantity.RATE:
            return replace(plan, rate=value)
        return replace(plan, clients=max(plan.clients + 1, round(value)))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its plan, its result (None: the run could not begin), and why it does not hold."""

    plan: Plan
    result: Result | None
    failures: list[str]

    @property
    def holds(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True)
class Ramp:
    """All steps. All but the last one hold."""

    steps: list[Step]

    @property
    def quantity(self) -> Quantity:
        """What has grown from step to step."""
        first, last = self.steps[0].plan, self.steps[-1].plan
        return Quantity.CLIENTS if first.rate == last.rate else Quantity.RATE

    @property
    def best(self) -> Step | None:
        """The last step that held."""
        return next((step for step in reversed(self.steps) if step.holds), None)

    @property
    def verdict(self) -> str:
        """One sentence: what the server holds."""
        best, last = self.best, self.steps[-1]
        if best is None or best.result is None:
            return "this server does not hold the first step"
        held = f"this server holds {load_text(best)}"
        if last.holds:
            return f"{held}, and more was not tried"
        if last.result is None:
            return f"{held}; the next step could not begin: {last.failures[0]}"
        if last.result.saturated:
            return f"{held}, and may hold more: the next step was the generator's own limit"
        return held


def load_text(step: Step) -> str:
    """The load of a step, in the words that fit the scenario."""
    plan, result = step.plan, step.result
    assert result is not None
    clients = f"{plan.clients:,} clients"
    match plan.scenario:
        case Scenario.IDLE:
            return f"{clients} that are idle"
        case Scenario.CONNECT:
            return f"{result.rate:,.0f} handshakes a second"
        case Scenario.SCRIPT:
            return f"{clients} that follow the script"
        case Scenario.ROOM:
            return f"a room of {clients} at {result.rounds_rate or 0.0:,.1f} rounds a second"
    return f"{clients} at {result.sent_rate:,.0f} messages a second"


def parse_growth(text: str) -> Growth:
    """Parse ``clients+100``, ``clients*2``, ``rate+1000`` or ``rate*1.5``. Raises ValueError."""
    found = _GROWTH.fullmatch(text.strip())
    if found is not None:
        operator = Operator.PLUS if found[2] == "+" else Operator.TIMES
        operand = float(found[3])
        if operand > (0.0 if operator is Operator.PLUS else 1.0):
            return Growth(Quantity(found[1]), operator, operand)
    raise ValueError(f"{text!r}: write clients+N, clients*F, rate+N or rate*F, so that the load grows")


def ramp_up(
    plan: Plan,
    thresholds: Sequence[Threshold],
    growth: Growth | None = None,
    *,
    run: Callable[[Plan], Result],
    max_steps: int = 50,
) -> Iterator[Step]:
    """Run step after step and yield each one when it is done. The first that does not hold is the last.

    Args:
        plan: The first step.
        thresholds: What each step has to meet.
        growth: From step to step. By default a plan with a rate grows by half its rate, another by half its
            clients.
        run: Makes one run.
        max_steps: After so many steps the ramp ends.

    Raises:
        PlanError: The rate has to grow and the plan has none.
        LoadgenError: The first step could not begin.
        KeyboardInterrupt: A step was interrupted.
    """
    if growth is None:
        growth = Growth(Quantity.CLIENTS if plan.rate is None else Quantity.RATE, Operator.TIMES, 1.5)
    growth.next(plan)  # where this raises it has to do so before the first run
    for number in range(max_steps):
        try:
            result = run(plan)
        except LoadgenError as error:
            if number == 0:
                raise
            yield Step(plan, None, [str(error)])
            return
        if result.interrupted:
            raise KeyboardInterrupt
        step = Step(plan, result, failures(result, thresholds))
        yield step
        if not step.holds:
            return
        plan = growth.next(plan)


def failures(result: Result, thresholds: Sequence[Threshold]) -> list[str]:
    """Why a step does not hold: missed thresholds, errors, messages that did not arrive."""
    found = missed_thresholds(thresholds, result)
    errors = [f"{error.text} ({error.count:,})" for error in result.errors]
    # Where nothing was measured, the errors are the reason for what was missed.
    found = found + errors if result.measured else errors + found
    names_reach = any(threshold.metric == "reach" for threshold in thresholds)
    if not names_reach and result.reach is not None and result.reach < MIN_REACH:
        found.append(f"only {result.reach:.2%} of what was expected arrived")
    if found and result.saturated:
        found.insert(0, result.saturated)
    return found
