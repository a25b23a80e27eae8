"""What ``fastws bench`` does with a plan: runs it, reports it, and decides the exit code."""

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
from fastws.loadgen.html import climb_page, result_page
from fastws.loadgen.ramp import Climb, Growth, Step
from fastws.loadgen.ramp import climb as until_broken
from fastws.loadgen.thresholds import Promise, broken

__all__ = ["Failed", "climb", "once"]

EXIT_INTERRUPTED = 130  # 128 + SIGINT


class Failed(CannotStart):
    """There is nothing to report: nobody listens, nobody was let in."""

    exit_code = EXIT_FAILED


def once(
    plan: Plan,
    require: Sequence[Promise],
    json_file: str | None,
    html_file: str | None,
    turns: bool,
    **unused: Any,
) -> int:
    """One run. Whatever happens to the clients, what was measured is reported."""
    if unused["step"]:
        raise click.UsageError("--step belongs to --until")
    if turns and json_file == "-":
        raise click.UsageError("--turns says ready on the standard output: the JSON needs a file")
    check_writable(json_file, html_file)
    if turns:
        result = run(plan, turns=lines_of_input())
    else:
        with report.live(plan) as watch:
            result = run(plan, watch)
    missed = broken(require, result)
    report.print_result(result, console(json_file))
    write(json_file, lambda: dumps({**result.to_json(), "broken": missed}))
    write(html_file, lambda: result_page(result, missed).encode())
    return verdict(result, missed)


def lines_of_input() -> Iterator[str]:
    """Each line as it comes, after it was said that one may come."""
    while True:
        click.echo("ready")
        if not (line := sys.stdin.readline()):
            return
        yield line


def verdict(result: Result, missed: Sequence[str]) -> int:
    """Say on stderr why the exit code is not 0."""
    if result.interrupted:
        return EXIT_INTERRUPTED
    lines = [f"required {line}" for line in missed]
    if result.errors:
        lines = [f"{error.text} ({error.count:,})" for error in result.errors] + lines
    elif not result.measured:
        lines.insert(0, "nothing came back that could be measured")
    for line in lines:
        click.echo(f"fastws bench: {line}", err=True)
    return EXIT_FAILED if lines or not result.ok else 0


def climb(
    plan: Plan,
    until: Sequence[Promise],
    step: Growth | None,
    require: Sequence[Promise],
    json_file: str | None,
    html_file: str | None,
    turns: bool,
) -> int:
    """Step by step, until a promise breaks."""
    if turns:
        raise click.UsageError("--turns are those of a single run: leave --until away")
    if require:
        raise click.UsageError("--require belongs to a single run: with --until, each is one more --until")
    check_writable(json_file, html_file)
    done: list[Step] = []
    interrupted = False
    with report.live(plan) as watch:
        try:
            for each in until_broken(plan, until, step, run=lambda plan: run(plan, watch)):
                done.append(each)
        except KeyboardInterrupt:
            interrupted = True
    if not done:
        return EXIT_INTERRUPTED
    result = Climb(done)
    report.print_climb(result, console(json_file))
    write(json_file, lambda: dumps(climb_json(result)))
    write(html_file, lambda: climb_page(result).encode())
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if result.best is not None else EXIT_FAILED


def climb_json(result: Climb) -> dict[str, Any]:
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
    return {"verdict": result.verdict, "best": best, "steps": steps}


def console(json_file: str | None) -> Console:
    """Where the table goes: not where the JSON goes. A pipe has no width, and a table its own."""
    stream = sys.stderr if json_file == "-" else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 120, highlight=False)


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def check_writable(*files: str | None) -> None:
    """Fail before the run rather than after it. Raises CannotStart."""
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
