"""The load generator of ``fastws bench``: give it a plan, it returns a result.

    from fastws.loadgen import Plan, Scenario, run
    result = run(Plan(url="ws://127.0.0.1:8080/wsecho", scenario=Scenario.ECHO, clients=16))
    print(result.rate, result.latency["p99"])

One C loop per process drives the clients (`_loadgen.h`), also over TLS and with compression. There is no
second generator in Python: it would measure itself. The load generator needs Linux and its C module.
"""

from __future__ import annotations

from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.result import Result
from fastws.loadgen.run import Progress, run

__all__ = ["LoadgenError", "Plan", "PlanError", "Progress", "Result", "Scenario", "run"]
