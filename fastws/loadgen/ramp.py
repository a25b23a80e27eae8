"""More and more load, until a promise breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.result import Result
from fastws.loadgen.thresholds import Promise, broken

__all__ = ["Climb", "Growth", "Step", "climb", "parse_growth"]

_GROWTH = re.compile(r"(clients|rate)\s*([+*x])\s*([0-9]+(?:\.[0-9]+)?)")
#: Unless reach itself is promised: a server that drops messages does not hold the load.
LEAST_REACH = 0.999


@dataclass(frozen=True, slots=True)
class Growth:
    """What one step adds: ``clients+100`` or ``rate*1.5``."""

    of: str
    by: float
    times: bool

    def next(self, plan: Plan) -> Plan:
        """The plan of the next step. Raises PlanError where it cannot be made."""
        now = plan.clients if self.of == "clients" else plan.rate
        if now is None:
            raise PlanError("steps of the rate need a --rate to begin with")
        value = now * self.by if self.times else now + self.by
        if self.of == "rate":
            return replace(plan, rate=value)
        return replace(plan, clients=max(plan.clients + 1, round(value)))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its plan, what was measured (None: it could not even begin), and why it does not hold."""

    plan: Plan
    result: Result | None
    failures: list[str]

    @property
    def holds(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True)
class Climb:
    """All the steps; the last one may be the first that does not hold."""

    steps: list[Step]

    @property
    def best(self) -> Step | None:
        """The last step that held."""
        return next((step for step in reversed(self.steps) if step.holds), None)

    @property
    def verdict(self) -> str:
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
    """``N clients at R messages a second``, as fits the scenario."""
    plan, result = step.plan, step.result
    assert result is not None
    clients = f"{plan.clients:,} clients"
    match plan.scenario:
        case Scenario.IDLE:
            return f"{clients} that are idle"
        case Scenario.CONNECT:
            return f"{result.rate:,.0f} handshakes a second"
        case Scenario.ROOM:
            return f"a room of {clients} at {result.rounds_rate or 0.0:,.1f} rounds a second"
    return f"{clients} at {result.sent_rate:,.0f} messages a second"


def parse_growth(text: str) -> Growth:
    """``clients+100``, ``clients*2``, ``rate+1000`` or ``rate*1.5``. Raises ValueError."""
    found = _GROWTH.fullmatch(text.strip())
    by = float(found[3]) if found else 0.0
    times = found is not None and found[2] != "+"
    if found is None or by <= (1.0 if times else 0.0):
        raise ValueError(f"{text!r}: write clients+N, clients*F, rate+N or rate*F with something that grows")
    return Growth(found[1], by, times)


def climb(
    plan: Plan,
    promises: Sequence[Promise],
    growth: Growth | None = None,
    *,
    run: Callable[[Plan], Result],
    most: int = 50,
) -> Iterator[Step]:
    """Each step when it is done, the first that does not hold being the last.

    By default an open loop grows by half its rate and a closed one by half its clients. Raises
    LoadgenError when the first step cannot even begin, and KeyboardInterrupt when a step was interrupted.
    """
    growth = growth or Growth("clients" if plan.rate is None else "rate", 1.5, times=True)
    growth.next(plan)  # raises now, not after the first run
    for number in range(most):
        try:
            result = run(plan)
        except LoadgenError as error:
            if number == 0:
                raise
            yield Step(plan, None, [str(error)])
            return
        if result.interrupted:
            raise KeyboardInterrupt
        step = Step(plan, result, failures(result, promises))
        yield step
        if not step.holds:
            return
        plan = growth.next(plan)


def failures(result: Result, promises: Sequence[Promise]) -> list[str]:
    """Why a step does not hold: a broken promise, lost clients, messages that did not arrive."""
    found = broken(promises, result)
    found += [f"{error.text} ({error.count:,})" for error in result.errors]
    promised_reach = any(promise.metric == "reach" for promise in promises)
    if not promised_reach and result.reach is not None and result.reach < LEAST_REACH:
        found.append(f"only {result.reach:.2%} of what was expected arrived")
    if found and result.saturated:
        found.insert(0, result.saturated)
    return found
