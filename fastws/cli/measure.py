"""``fastws bench`` after its options are read: run the plan, report it, decide the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from fastws.cli.errors import EXIT_FAILED, CannotStart
from fastws.loadgen import Plan, Result, report, run
from fastws.loadgen.feed_client import check_feed
from fastws.loadgen.html import ramp_page, result_page
from fastws.loadgen.keyed import Keyed, run_keyed
from fastws.loadgen.machine import made_by
from fastws.loadgen.ramp import Growth, Ramp, Step, ramp_up
from fastws.loadgen.storm import Storm, run_storm
from fastws.loadgen.thresholds import Check, Threshold, check

__all__ = ["Failed", "measure_once", "measure_feed", "measure_ramp"]

EXIT_INTERRUPTED = 130  # 128 + SIGINT


class Failed(CannotStart):
    """There is nothing to report: no server listens, or it let no client in."""

    exit_code = EXIT_FAILED


def measure_once(
    plan: Plan,
    *,
    require: Sequence[Threshold],
    step: Growth | None,
    json_file: str | None,
    html_file: str | None,
    turns: bool,
) -> int:
    """Make one run and report it, also where clients failed. Return the exit code.

    Raises click.UsageError for options that do not belong together, and what `run` raises.
    """
    if step:
        raise click.UsageError("--step belongs to --until")
    if turns and json_file == "-":
        raise click.UsageError("--turns prints ready to the standard output: the JSON needs a file")
    check_writable(json_file, html_file)
    if turns:
        result = run(plan, turns=turns_of_input())
    else:
        with report.live(plan) as watch:
            result = run(plan, watch)
    checks = check(require, result)
    report.print_result(result, console(json_file), checks)
    write(json_file, lambda: dumps(result_json(result, checks)))
    write(html_file, lambda: result_page(result, checks).encode())
    return exit_code(result, checks)


def result_json(result: Result, checks: Sequence[Check]) -> dict[str, Any]:
    """Return what ``--json`` writes: the figures, and what became of each threshold."""
    missed = [str(each) for each in checks if not each.met]
    return {**result.to_json(), "thresholds": [each.to_json() for each in checks], "broken": missed}


def measure_feed(
    plan: Storm | Keyed,
    *,
    until: Sequence[Threshold],
    require: Sequence[Threshold],
    step: Growth | None,
    json_file: str | None,
    html_file: str | None,
    turns: bool,
) -> int:
    """Measure a feed and report it. Return the exit code: 1 where a client has not what it should have.

    Raises click.UsageError for options of other scenarios, and what `run_storm` and `run_keyed` raise.
    """
    scenario = "resume" if isinstance(plan, Storm) else "keyed"
    if until or require or step or html_file or turns:
        raise click.UsageError(f"{scenario} has no --until, --require, --step, --html and --turns")
    check_writable(json_file)
    check_feed(plan.url, plan.topic, insecure=plan.insecure)
    result = run_storm(plan) if isinstance(plan, Storm) else run_keyed(plan)
    report.print_table(f"{scenario} {plan.url}, topic {plan.topic}", result.rows(), console(json_file))
    write(json_file, lambda: dumps(result.to_json()))
    return 0 if result.ok else EXIT_FAILED


def turns_of_input() -> Iterator[str]:
    """Print ``ready`` and wait for a line, again and again, until the input ends."""
    while True:
        click.echo("ready")
        if not (line := sys.stdin.readline()):
            return
        yield line


def exit_code(result: Result, checks: Sequence[Check]) -> int:
    """Return the exit code of a run. Where it is not 0, stderr says why."""
    if result.interrupted:
        return EXIT_INTERRUPTED
    lines = [f"required {each}" for each in checks if not each.met]
    if result.errors:
        lines = [f"{error.text} ({error.count:,})" for error in result.errors] + lines
    elif not result.measured:
        lines.insert(0, "nothing came back that could be measured")
    for line in lines:
        click.echo(f"fastws bench: {line}", err=True)
    return EXIT_FAILED if lines or not result.ok else 0


def measure_ramp(
    plan: Plan,
    *,
    until: Sequence[Threshold],
    step: Growth | None,
    require: Sequence[Threshold],
    json_file: str | None,
    html_file: str | None,
    turns: bool,
) -> int:
    """Raise the load step by step until a threshold is missed, and report all steps. Return the exit code.

    Raises click.UsageError for options that do not belong together, and what `run` raises.
    """
    if turns:
        raise click.UsageError("--turns belongs to a single run and not to --until")
    if require:
        raise click.UsageError("--require belongs to a single run: with --until, each is one more --until")
    check_writable(json_file, html_file)
    done, interrupted = run_steps(plan, until, step)
    if not done:
        return EXIT_INTERRUPTED
    result = Ramp(done)
    report.print_ramp(result, console(json_file))
    write(json_file, lambda: dumps(ramp_json(result)))
    write(html_file, lambda: ramp_page(result).encode())
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if result.best is not None else EXIT_FAILED


def run_steps(plan: Plan, until: Sequence[Threshold], growth: Growth | None) -> tuple[list[Step], bool]:
    """Return the steps that were done, and whether the user interrupted the next one."""
    done: list[Step] = []
    with report.live(plan) as watch:
        try:
            for step in ramp_up(plan, until, growth, run=lambda plan: run(plan, watch)):
                done.append(step)
        except KeyboardInterrupt:
            return done, True
    return done, False


def ramp_json(result: Ramp) -> dict[str, Any]:
    steps = [
        {
            "clients": step.plan.clients,
            "rate": step.plan.rate,
            "holds": step.holds,
            "failures": step.failures,
            "result": step.result.to_json() if step.result is not None else None,
        }
        for step in result.steps
    ]
    best = result.steps.index(result.best) if result.best is not None else None
    return {"verdict": result.verdict, "best": best, "made_by": made_by(), "steps": steps}


def console(json_file: str | None) -> Console:
    """Where the table goes: to stdout, or to stderr where the JSON goes to stdout. A pipe has 120 columns."""
    stream = sys.stderr if json_file == "-" else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 120, highlight=False)


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def check_writable(*files: str | None) -> None:
    """Raise CannotStart where a file cannot be written: before the run and not after it."""
    for file in files:
        if file is None or file == "-":
            continue
        there = Path(file) if Path(file).exists() else Path(file).parent
        if Path(file).is_dir() or not os.access(there, os.W_OK):
            raise CannotStart(f"cannot write {file}")


def write(file: str | None, content: Callable[[], bytes]) -> None:
    if file == "-":
        sys.stdout.buffer.write(content())
    elif file is not None:
        Path(file).write_bytes(content())
