"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from bench.cli import main
from bench.compare import compare, comparison_text
from bench.model import save


def test_a_change_of_ours_is_seen_with_its_interval(make_run) -> None:
    result = compare(make_run(), make_run(speed=2.0))
    change = next(
        change for change in result.ours if change.cell == "echo-16" and change.metric.name == "rate"
    )
    assert (change.old, change.new, change.factor) == (240_000, 480_000, 2)
    assert change.interval is not None and change.interval.low > 1


def test_ratios_do_not_change_when_the_whole_machine_is_faster(make_run) -> None:
    result = compare(make_run(), make_run(speed=2.0))
    assert result.share_close == 1 and {change.server for change in result.ratios} == {"picows", "websockets"}


def test_a_ratio_that_moved_is_counted_and_marked(make_run) -> None:
    new = make_run()
    for sample in new.samples:
        if sample.server == "picows" and sample.cell == "echo-16":
            sample.metrics["rate"] *= 1.5
    result = compare(make_run(), new)
    assert result.share_close == 7 / 8
    text = comparison_text(make_run(), new)
    assert "7 of 8 ratios (88%) agree within 15%" in text and "| picows | 2.00× | 1.33× | -33.3 % ! |" in text


def test_the_text_names_what_else_differs(make_run) -> None:
    new = make_run()
    new.machine = {**new.machine, "kernel": "7.0"}
    new.idle, new.idle_ok = "The machine was NOT idle.", False
    text = comparison_text(make_run(), new)
    assert "- kernel: 6.0 → 7.0" in text and "NOT idle" in text


def test_only_what_both_measured_is_compared(make_run) -> None:
    result = compare(make_run(cells=("echo-16",)), make_run(cells=("echo-16", "room-100")))
    assert {change.cell for change in [*result.ours, *result.ratios]} == {"echo-16"}
    assert compare(make_run(cells=("echo-16",)), make_run(cells=("room-100",))).share_close == 1


def test_the_command_checks_the_share(make_run, tmp_path: Path) -> None:
    new = make_run()
    for sample in new.samples:
        if sample.server == "picows":
            sample.metrics["rate"] *= 2
    for name, run in (("a", make_run()), ("b", new)):
        save(run, tmp_path / name)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert CliRunner().invoke(main, ["compare", a, b]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", a, a, "--check"]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", a, b, "--check"]).exit_code == 1


def test_the_command_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no")
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "x"), str(tmp_path / "y")])
    assert result.exit_code == 2 and "is not a result" in result.output
