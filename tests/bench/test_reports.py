"""Markdown, HTML, the README's section, the goals: all from a run that was made up."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from bench.goals import GOALS, judge
from bench.markdown import markdown, table
from bench.model import Sample, ServerRecord
from bench.page import page
from bench.plots import cell_plot
from bench.readme import BEGIN, END, readme_plot, rewrite, section
from bench.rivals import catalogue
from bench.summary import number, tables


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (0.4249, "0.42"), (9.996, "10.0"), (99.96, "100"), (999.4, "999"), (1234, "1,234")]
    + [(9_996, "10.0 k"), (183_600, "184 k"), (999_600, "1.00 M"), (2_734_000, "2.73 M"), (33e6, "33.0 M")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_markdown_has_machine_medians_ratios_and_missing_rivals(make_run) -> None:
    text = markdown(make_run())
    assert "Imaginary 3000" in text and "kernel 6.0" in text and "engine c" in text and "2026-01-02" in text
    row = next(line for line in text.splitlines() if line.startswith("| picows"))
    assert "| 120 k |" in row and "| 2.00× (2.00–2.00) |" in row
    assert "| not installed: node is not installed |" in text
    assert "| **fastws** | 240 k |" in text


def test_a_row_that_failed_says_why_and_has_no_figure(make_run) -> None:
    run = make_run()
    run.servers.append(ServerRecord("gorilla", "gorilla (Go)", version="1"))
    run.samples += [Sample("echo-16", "gorilla", n, {"rate": 1e9}, "12 of 16 clients lost") for n in range(9)]
    row = next(line for line in markdown(run).splitlines() if line.startswith("| gorilla"))
    assert "failed: 12 of 16 clients lost" in row and "1000" not in row


def test_a_row_that_failed_once_says_so_beside_its_figure(make_run) -> None:
    run = make_run()
    run.samples.append(Sample("echo-16", "picows", 9, {}, "the server ended: boom"))
    row = next(line for line in markdown(run).splitlines() if line.startswith("| picows"))
    assert "1 of 9 rounds failed: the server ended: boom" in row and "120 k" in row


def test_one_round_shows_no_interval(make_run) -> None:
    assert "| 2.00× |" in markdown(make_run(rounds=1))


def test_pipes_do_not_break_a_table() -> None:
    assert table(("a", "b"), [("x", "y|z")]).splitlines()[-1] == "| x | y\\|z |"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_needs_nothing_from_anywhere(make_run) -> None:
    text = page(make_run())
    seen = Page()
    seen.feed(text)
    assert all(address.startswith("#") for address in seen.addresses)
    assert "url(http" not in text and "@import" not in text and "script" not in seen.tags
    assert seen.tags.count("svg") == 2 and seen.tags.count("h2") == 5


def test_the_page_shows_rivals_ratios_and_a_machine_that_was_not_idle(make_run) -> None:
    run = make_run()
    run.idle, run.idle_ok = "The machine was NOT idle <b>", False
    seen = Page()
    seen.feed(text := page(run))
    assert "2.00× (2.00–2.00)" in seen.words and "not installed: node is not installed" in seen.words
    assert 'class="alarm"' in text and "NOT idle &lt;b&gt;" in text
    assert re.search(r'<td class="better" title="2.00× \(2.00–2.00\)">2.00×</td>', text)


def test_a_plot_has_a_bar_for_each_server_that_has_figures(make_run) -> None:
    svg = ET.fromstring(cell_plot(tables(make_run())[0]))
    words = {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"fastws", "picows", "websockets", "240 k/s", "120 k/s"} <= words and "ws (node)" not in words


@pytest.mark.parametrize("factor", [5, 500], ids=["linear", "logarithmic"])
def test_a_round_far_from_the_others_leaves_the_figure_beside_it(make_run, factor: int) -> None:
    run = make_run()
    run.samples.append(Sample("echo-16", "fastws", 9, {"rate": factor * 240e3}))
    run.samples += [Sample("echo-16", "ws", n, {"rate": 240e3 / factor}) for n in range(9)]
    run.servers[-1] = ServerRecord("ws", "ws (node)", version="1")
    words = {element.text for element in ET.fromstring(cell_plot(tables(run)[0])).iter()}
    assert "240 k/s" in words


def test_plots_are_the_same_each_time(make_run) -> None:
    assert readme_plot(make_run()) == readme_plot(make_run())


def test_the_section_is_put_between_the_markers_and_only_there(make_run) -> None:
    before = f"# fastws\n\n{BEGIN}\nold\n{END}\n\ntail\n"
    after = rewrite(before, section(make_run()))
    assert (
        after.startswith(f"# fastws\n\n{BEGIN}\n![")
        and after.endswith(f"{END}\n\ntail\n")
        and "old" not in after
    )
    assert "| **fastws** | **240 k** | **240 k** |" in after
    assert rewrite(after, section(make_run())) == after


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, BEGIN + END + BEGIN + END])
def test_readme_without_its_markers_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="there is not one"):
        rewrite(text, "new")


def test_the_readme_needs_one_of_its_cells(make_run) -> None:
    with pytest.raises(ValueError, match="none of the cells"):
        section(make_run(cells=("deflate",)))


def test_goals_name_cells_metrics_and_servers_that_there_are() -> None:
    known = {*catalogue(), "uws", None}
    for goal in GOALS:
        assert goal.rival in known and goal.ours in known
        assert goal.at_least == (goal.metric == "rate")
        assert goal.must is not None or goal.aim is not None


def test_goals_are_judged_by_the_bad_end(make_run) -> None:
    verdicts = {(v.goal.cell, v.goal.rival, v.goal.ours): v for v in judge(make_run())}
    assert verdicts["echo-16", "picows", "fastws"].met is True  # 2.0 against 1.05
    assert verdicts["fanout-16", "picows", "fastws"].met is False  # 2.0 against 10
    assert verdicts["echo-16", "gorilla", "fastws"].met is None  # was not measured
    run = make_run()
    for sample in run.samples:
        if sample.server == "fastws" and sample.round < 4:
            sample.metrics["rate"] /= 2  # 1.0 in four rounds of nine: the median is fine, the interval is not
    verdict = next(v for v in judge(run) if v.goal.cell == "echo-16" and v.goal.rival == "picows")
    assert verdict.estimate is not None and verdict.estimate.mid == 2 and verdict.met is False


def test_a_failed_round_of_ours_breaks_the_promise(make_run) -> None:
    run = make_run()
    run.samples.append(Sample("echo-16", "fastws", 9, {}, "2 clients evicted"))
    assert all(
        v.met is False
        for v in judge(run)
        if v.goal.cell == "echo-16" and v.goal.must and v.goal.ours == "fastws"
    )
