"""The table on the terminal, and the page."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from fastws.loadgen import report
from fastws.loadgen.charts import Line, chart, linear, logarithmic
from fastws.loadgen.html import ramp_page, result_page
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.procstat import Usage
from fastws.loadgen.ramp import Ramp, Step
from fastws.loadgen.result import Moment, build_result
from fastws.loadgen.run import Phase, Progress
from fastws.loadgen.thresholds import Check, parse_threshold
from tests.loadgen.results import PLAN, counts, result, share, slots_of

VOID = {"meta", "line", "polyline"}


class Checker(HTMLParser):
    """Fails on a page whose elements do not close, or that fetches anything."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert tag not in ("script", "link", "img") and not {"src", "href"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> list[str]:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "url(" not in page and "http://" not in page and "nan" not in page.split("</style>")[1]
    return checker.seen


def shown(made: object) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=160)
    if isinstance(made, Ramp):
        report.print_ramp(made, console)
    else:
        report.print_result(made, console)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"depth": 4}, "echo ws://127.0.0.1:1/: 10 clients, 4 outstanding each, 64 B text"),
        ({"rate": 2000.0, "binary": True}, "10 clients, 2,000 a second, 64 B binary"),
        ({"scenario": Scenario.FANOUT, "window": 3}, "1 of them publish, 3 outstanding, 64 B text"),
        ({"scenario": Scenario.FANOUT, "processes": 2, "deflate": True}, "64 B text, deflate, 2 processes"),
        ({"scenario": Scenario.IDLE}, "idle ws://127.0.0.1:1/: 10 clients"),
        ({"message": "häh"}, "4 B text"),
    ],
)
def test_the_title_says_what_was_asked(values: dict[str, object], text: str) -> None:
    assert report.title(replace(PLAN, **values)).endswith(text)  # type: ignore[arg-type]


def test_the_table_has_every_figure() -> None:
    usage = (Usage(0.0, 2**20), Usage(0.0, 2**21), Usage(0.5, 2**21))
    made = build_result(
        replace(PLAN, pid=7), [share(slots=slots_of(0.5, 2, 3000), errors=[(5, 1001, 2)])], usage=usage
    )
    text = shown(made)
    for part in (
        "100 messages/s",
        "p50 2",
        "p99.9 3",
        "100 %",
        "closed by the server with 1001: 2",
        "50% of a core",
    ):
        assert part in text, part
    assert "5000.00 µs each, 0.50 cores" in text and "102.40 KB a connection, 2.0 MB in all" in text


def test_each_scenario_has_rows_of_its_own() -> None:
    fanout = dict(report.rows(result(replace(PLAN, scenario=Scenario.FANOUT))))
    assert fanout["throughput"] == "100 deliveries/s" and fanout["published"] == "100 messages/s"
    room = dict(report.rows(result(replace(PLAN, scenario=Scenario.ROOM))))
    assert room["rounds"] == "0.0 /s" and "all received after" in room
    assert dict(report.rows(result(replace(PLAN, scenario=Scenario.IDLE))))["held"] == "10 clients"


def test_reach_is_never_rounded_up_and_times_have_their_unit() -> None:
    assert report.percent(1.0) == "100 %"
    assert report.percent(0.9999999) == "100.0000 %" or report.percent(0.99999) == "99.9990 %"
    assert [report.milliseconds(value) for value in (0.0123, 12.34, 4321.0)] == ["12 µs", "12.3 ms", "4.32 s"]


def test_remarks_stand_below_the_table() -> None:
    made = result()
    made.remarks = ["generator saturated: by [markup]"]
    assert "note: generator saturated: by [markup]" in shown(made)


def steps() -> Ramp:
    held = Step(PLAN, result(p99=1.0), [])
    broke = Step(
        replace(PLAN, clients=20), result(replace(PLAN, clients=20), p99=99.0), ["p99 at most 50 ms"]
    )
    return Ramp([held, broke, Step(replace(PLAN, clients=30, rate=5.0), None, ["no client could open"])])


def test_the_steps_are_a_table_with_a_verdict() -> None:
    text = shown(steps())
    assert "holds" in text and "p99 at most 50 ms" in text and "no client could open" in text
    assert "this server holds 10 clients at 100 messages a second; the next step could not begin" in text


def test_the_page_of_a_run_stands_alone() -> None:
    plan = replace(PLAN, url="ws://127.0.0.1:1/<script>")
    moments = [Moment(at / 2, 100.0 * at, 1.0, 2.0, 10) for at in range(-1, 5)]
    made = build_result(plan, [share(slots=slots_of(*range(1, 500)))], moments=moments)
    made.remarks = ["a & b"]
    page = result_page(made, [Check(parse_threshold("p99<1ms"), 2.0, met=False)])
    seen = check_page(page)
    assert seen.count("svg") == 3 and seen.count("table") == 1
    assert "&lt;script&gt;" in page and "a &amp; b" in page and "it was 2 ms" in page


def test_a_page_without_figures_has_no_curves() -> None:
    assert "svg" not in check_page(result_page(build_result(PLAN, [share(last=counts())])))


def test_the_page_of_the_steps_stands_alone() -> None:
    page = ramp_page(steps())
    seen = check_page(page)
    assert seen.count("svg") == 1 and seen.count("tr") == 4
    assert "this server holds 10 clients" in page


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-1, 4.5, [-1, 0, 1, 2, 3, 4, 5]),
        (0, 0, [0]),
        (7, 7.3, [7.0, 7.05, 7.1]),
    ],
)
def test_linear_axes_have_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    axis = linear("", low, high, str)
    assert [value for value, _ in axis.ticks][: len(ticks)] == pytest.approx(ticks)
    assert 0 <= axis.place(low) <= axis.place(high) <= 1


def test_logarithmic_axes_have_decades() -> None:
    axis = logarithmic("", 0.03, 20.0, str)
    assert [value for value, _ in axis.ticks] == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert axis.place(0.01) == 0 and axis.place(100.0) == 1
    assert len(logarithmic("", 1.0, 1.0, str).ticks) == 2


def test_curves_stay_inside_the_chart() -> None:
    axis = linear("", 0, 10, str)
    drawn = chart("x", axis, axis, [Line("a<b", [(-5, -5), (15, 15)], "one"), Line("c", [(1, 1)], "two")])
    points = re.findall(r'points="([^"]*)"', drawn)[0].split()
    assert [tuple(map(float, point.split(","))) for point in points] == [(64.0, 220.0), (688.0, 12.0)]
    assert "a&lt;b" in drawn


PLANS = [PLAN, replace(PLAN, scenario=Scenario.IDLE)]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("phase", ["opening", "warm-up", "measuring", "finishing"])
def test_the_line_of_progress_says_what_goes_on(plan: Plan, phase: str) -> None:
    moment = Moment(5.0, 1234.0, 1.0, 2.0, 10)
    text = report.progress_line(plan, Progress(Phase(phase), 5.0, 10, 3, moment)).plain
    assert phase in text and "10 clients" in text and "3 errors" in text
    assert ("1,234" in text and "p99 2 ms" in text) == (phase != "opening")
    assert ("━" in text) == (phase == "measuring")


def test_no_terminal_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with report.live(PLAN) as watch:
        watch(Progress(Phase.MEASURING, 1.0, 10, 0))
    assert capsys.readouterr() == ("", "")
