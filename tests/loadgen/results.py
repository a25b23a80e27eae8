"""Results as a run would make them, out of a few figures."""

from __future__ import annotations

from typing import Any

from fastws.loadgen.histogram import Slots
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.result import Result, ShareReport, build_result
from fastws.loadgen.validity import Load

__all__ = ["counts", "result", "share", "slots_of"]

PLAN = Plan(url="ws://127.0.0.1:1/", scenario=Scenario.ECHO, clients=10)
NAMES = ["scheduled", "sent", "received", "other", "bytes_in", "rounds", "opened", "failed"]
NAMES += ["lost", "stalls", "late_ns", "pings", "alive"]


def counts(**values: int) -> dict[str, int]:
    return {**dict.fromkeys(NAMES, 0), **values}


def slots_of(*milliseconds: float) -> Slots:
    found = []
    for value in milliseconds:
        nanoseconds = int(value * 1e6)
        bucket = max(0, nanoseconds.bit_length() - 11)
        found.append(((bucket << 10) + (nanoseconds >> bucket), 1))
    return found


def share(
    *,
    first: dict[str, int] | None = None,
    last: dict[str, int] | None = None,
    total: dict[str, int] | None = None,
    load: Load | None = None,
    **rest: Any,
) -> ShareReport:
    """A process that ran for a second, half of it busy."""
    last = last or counts(received=100, scheduled=100, sent=100, opened=10, alive=10)
    return ShareReport(
        first=first or counts(),
        last=last,
        load=load or Load(1.0, 0.5, 0.0),
        total=total or last,
        errors=rest.get("errors", []),
        note=rest.get("note", ""),
        slots=rest.get("slots", []),
    )


def result(
    plan: Plan = PLAN, *, p99: float = 1.0, received: int = 100, expected: int = 100, **rest: Any
) -> Result:
    """One whose latencies are all ``p99`` milliseconds."""
    last = counts(
        received=received, scheduled=expected, sent=expected, opened=plan.clients, alive=plan.clients
    )
    return build_result(plan, [share(last=last, slots=slots_of(p99), **rest)])
