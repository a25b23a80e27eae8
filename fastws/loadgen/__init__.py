"""The load generator behind ``fastws bench``: a plan in, a result out.

    from fastws.loadgen import Plan, Scenario, run
    result = run(Plan(url="ws://127.0.0.1:8080/wsecho", scenario=Scenario.ECHO, clients=16))
    print(result.rate, result.latency["p99"])

The clients live in one C loop per process (`_loadgen.h`), over TLS and with compression too; there is no
second generator in Python, because what it measured would be itself. It needs Linux, the module built, and
the packages of ``pip install "fastws-server[bench]"``.
"""

from __future__ import annotations

from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.result import Result
from fastws.loadgen.run import Progress, run

__all__ = ["LoadgenError", "Plan", "PlanError", "Progress", "Result", "Scenario", "run"]
