"""What made a report."""

from __future__ import annotations

import orjson
import pytest

from fastws._version import __version__
from fastws.loadgen.html import ramp_page, result_page
from fastws.loadgen.machine import command_line, made_by
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.procstat import Usage
from fastws.loadgen.ramp import Quantity, Ramp, Step
from fastws.loadgen.result import build_result
from fastws.loadgen.thresholds import metrics
from tests.loadgen.results import PLAN, result, share


def test_every_report_names_command_machine_and_versions() -> None:
    made = orjson.loads(orjson.dumps(result().to_json()))["made_by"]
    assert set(made) == {"command", "machine", "system", "versions"} and all(made.values())
    assert f"fastws {__version__} (engine " in made["versions"] and "Python" in made["versions"]
    for page in (result_page(result()), ramp_page(Ramp([Step(PLAN, result(), [])]))):
        for label in made_by():
            assert f"<div>{label}: " in page


def test_the_command_is_one_for_a_shell_and_without_secrets() -> None:
    words = ["/x/bin/fastws", "bench", "ws://h/", "echo", "--header", "Authorization: Bearer abc", "--header"]
    words += ["X: a b", "--header=Cookie: abc"]
    shown = command_line(words)
    assert shown == (
        "fastws bench ws://h/ echo --header Authorization:... --header 'X: a b' --header=Cookie:..."
    )
    assert command_line(["/x/fastws/__main__.py", "bench"]) == "fastws bench"


def test_the_x_axis_of_a_ramp_is_what_is_stepped() -> None:
    """What comes back may fall beyond the limit: a line by it would run backwards."""
    plans = [Plan(url="ws://h/", scenario=Scenario.ECHO, clients=n) for n in (10, 20, 40)]
    steps = [
        Step(plan, result(plan, received=received), [])
        for plan, received in zip(plans, (100, 200, 50), strict=True)
    ]
    ramp = Ramp(steps)
    assert ramp.quantity is Quantity.CLIENTS
    points = ramp_page(ramp).split('<polyline class="one" points="')[1].split('"')[0].split()
    across = [float(point.split(",")[0]) for point in points]
    assert across == sorted(across) and len(set(across)) == 3
    rates = [Plan(url="ws://h/", scenario=Scenario.ECHO, rate=rate) for rate in (10.0, 20.0)]
    assert Ramp([Step(plan, result(plan), []) for plan in rates]).quantity is Quantity.RATE


@pytest.mark.parametrize("grown", [-1 << 20, 0, 5000])
def test_a_server_that_did_not_grow_has_no_memory_for_each_connection(grown: int) -> None:
    plan = Plan(url="ws://h/", scenario=Scenario.IDLE, clients=10, pid=1)
    usage = [Usage(5.0, 9 << 20), Usage(5.0, 9 << 20), Usage(4.0, (9 << 20) + grown)]
    made = build_result(plan, [share()], usage=usage)
    assert made.server is not None
    assert made.server.rss_kb is None and made.server.cores == 0.0
    assert "rss" not in metrics(made)
    assert any("memory did not grow" in remark for remark in made.remarks)
