"""From the counts of the processes to figures."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hdrh.histogram import HdrHistogram

from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.procstat import Usage
from fastws.loadgen.result import Result, build_result
from fastws.loadgen.validity import Load
from tests.loadgen.results import PLAN, counts, result, share, slots_of


def test_rates_and_histograms_of_processes_add_up() -> None:
    first, last = counts(received=50, sent=60), counts(received=250, sent=260)
    total = counts(received=300, scheduled=300, opened=5, alive=5)
    one = share(first=first, last=last, total=total, load=Load(2.0, 1.0, 0.0), slots=slots_of(1, 2))
    two = share(first=first, last=last, total=total, load=Load(1.0, 0.2, 0.0), slots=slots_of(3))
    merged = build_result(PLAN, [one, two])
    assert merged.rate == pytest.approx(100 + 200)
    assert (merged.received, merged.expected, merged.reach) == (600, 600, 1.0)
    assert merged.opened == 10
    assert merged.latency is not None and merged.latency["max"] == pytest.approx(3.0, rel=1e-3)
    assert [load.cpu_share for load in merged.loads] == [0.5, 0.2]


@pytest.mark.parametrize(
    ("plan", "total", "reach"),
    [
        (PLAN, counts(scheduled=10, received=9, opened=10), (9, 10)),
        (replace(PLAN, scenario=Scenario.FANOUT), counts(scheduled=7, received=70, opened=10), (70, 70)),
        (
            replace(PLAN, scenario=Scenario.FANOUT, to_others=True),
            counts(scheduled=7, received=60, opened=10),
            (60, 63),
        ),
        (replace(PLAN, scenario=Scenario.ROOM), counts(scheduled=20, received=200, opened=10), (200, 200)),
        (replace(PLAN, scenario=Scenario.CONNECT), counts(scheduled=20, opened=19), (19, 20)),
        (replace(PLAN, scenario=Scenario.IDLE), counts(opened=10, alive=8), (8, 10)),
    ],
)
def test_reach_is_received_of_expected(plan: Plan, total: dict[str, int], reach: tuple[int, int]) -> None:
    made = build_result(plan, [share(total=total)])
    assert (made.received, made.expected) == reach


def test_a_run_of_nothing_has_no_reach_and_is_not_ok() -> None:
    made = build_result(PLAN, [share(last=counts(), load=Load(0.0, 0.0, 0.0))])
    assert made.reach is None and made.latency is None and not made.measured and not made.ok


def test_the_servers_cpu_is_divided_by_what_was_done() -> None:
    usage = (Usage(1.0, 2**20), Usage(2.0, 3 * 2**20), Usage(2.5, 3 * 2**20))
    made = build_result(replace(PLAN, pid=7), [share()], usage=usage)
    assert made.server is not None
    assert made.server.cores == pytest.approx(0.5)
    assert made.server.cpu_us == pytest.approx(5000)  # half a second for 100 messages
    assert made.server.rss_kb == pytest.approx(2 * 1024 / 10)
    assert made.server.rss_mb == 3.0


def test_connections_that_come_and_go_have_no_memory_of_their_own() -> None:
    usage = (Usage(0.0, 1), Usage(0.0, 1), Usage(1.0, 1))
    made = build_result(replace(PLAN, scenario=Scenario.CONNECT, pid=7), [share()], usage=usage)
    assert made.server is not None and made.server.rss_kb is None


def test_nothing_is_said_of_a_server_that_ended() -> None:
    assert build_result(replace(PLAN, pid=7), [share()], usage=[Usage(0.0, 1)]).server is None


def remarks(made: Result) -> str:
    return "\n".join(made.remarks)


def test_remarks_say_what_the_figures_do_not() -> None:
    total = counts(scheduled=100, received=90, opened=9, failed=1, lost=2, other=5, late_ns=20_000_000)
    made = build_result(
        replace(PLAN, rate=10.0), [share(total=total, errors=[(5, 1001, 2)])], interrupted=True
    )
    said = remarks(made)
    assert said.startswith("interrupted:")
    assert "1 of 10 clients could not open" in said
    assert "2 of 9 clients were lost before the end" in said
    assert "5 messages came that do not count" in said and "--merged-by" in said
    assert "up to 20 ms behind its own schedule" in said
    assert not made.ok


def test_saturation_is_a_remark_and_its_words_stand_first() -> None:
    made = result(load=Load(1.0, 0.99, 0.0))
    assert made.saturated is not None and made.remarks == [made.saturated]
    assert made.ok  # a limit of ours is no failure of the server


def test_a_crowded_core_is_a_remark() -> None:
    assert "waited for its core" in remarks(result(load=Load(1.0, 0.3, 0.3)))


def test_failed_connections_are_counted_of_those_that_were_tried() -> None:
    total = counts(scheduled=50, opened=48, failed=2)
    assert "2 of 50 connections" in remarks(
        build_result(replace(PLAN, scenario=Scenario.CONNECT), [share(total=total)])
    )


def test_the_json_can_be_read_back() -> None:
    made = orjson.loads(orjson.dumps(result(p99=5.0).to_json()))
    assert made["format"] == 1 and made["ok"] is True and made["unit"] == "messages/s"
    assert made["plan"]["scenario"] == "echo" and made["generator"][0]["cpu_share"] == 0.5
    histogram = HdrHistogram.decode(made["histogram_ns"])
    assert histogram.get_max_value() / 1e6 == pytest.approx(made["latency"]["max"])
