"""``python -m bench``: reports, goals, the section of the README, and wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.model import save
from bench.readme import BEGIN, END


@pytest.fixture
def result(make_run, tmp_path: Path) -> str:
    save(make_run(), tmp_path / "run.json")
    return str(tmp_path / "run.json")


def call(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, args)
    return done.exit_code, done.output


def test_readme_rewrites_its_section_and_draws_its_plot(result: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert call("readme", result, "--root", str(tmp_path))[0] == 0
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| **fastws** |" in text
    assert (tmp_path / "docs" / "bench.svg").read_text().startswith("<?xml")


def test_readme_without_markers_is_refused_and_nothing_is_written(result: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing here")
    code, output = call("readme", result, "--root", str(tmp_path))
    assert code == 1 and "there is not one <!-- bench:begin -->" in output
    assert (tmp_path / "README.md").read_text() == "nothing here" and not (tmp_path / "docs").exists()


def test_the_repository_has_the_markers() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_reports_are_made_again(result: str, tmp_path: Path) -> None:
    assert call("report", result)[1].startswith("# Benchmarks\n")
    page, text = tmp_path / "deep" / "page.html", tmp_path / "report.md"
    assert call("report", result, "--html", str(page), "--markdown", str(text))[0] == 0
    assert page.read_text().startswith("<!doctype html>") and text.read_text().startswith("# Benchmarks\n")


def test_goals_are_printed_and_checked(result: str) -> None:
    code, output = call("goals", result)
    assert (
        code == 0
        and "| echo-16 | fastws ÷ picows, messages | ≥ 1.05× |  | 2.00× (2.00–2.00) | kept |" in output
    )
    assert call("goals", result, "--check")[0] == 1  # 2.0 is less than the tenfold of fanout-16


def test_listing_names_every_cell_and_server() -> None:
    code, output = call("list")
    assert code == 0 and "tls-fanout" in output and "gorilla-merge" in output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--only", "nobody/"), "no server 'nobody'"),
        (("--only", "/nothing"), "no cell 'nothing'"),
        (("--extra", "uws"), "is not NAME=COMMAND"),
        (("--quick", "--goals"), "two selections"),
        (("--rounds", "0"), "0 is not in the range"),
        (("no-such-command",), "No such command"),
        (("goals", "/no/such/file"), "No such file"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(args: tuple[str, ...], words: str) -> None:
    code, output = call(*args)
    assert code == 2 and words in output and "Traceback" not in output
