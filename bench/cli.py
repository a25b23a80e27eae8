"""``python -m bench``: run the matrix, compare two runs, judge the goals, make the README's numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.builds import NotInstalled, prepare_node
from bench.cells import CELLS
from bench.compare import compare as compare_runs
from bench.compare import comparison_text
from bench.goals import judge
from bench.launch import ROOT
from bench.markdown import goal_words, markdown, table, verdict_words
from bench.microbench import compare_with_baseline, save_baseline
from bench.model import Run, load
from bench.page import page
from bench.readme import PLOT, readme_plot, rewrite, section
from bench.rivals import catalogue, record
from bench.run import RunOptions, execute

__all__ = ["main"]

#: Below this share of close ratios `compare --check` fails.
CLOSE_SHARE = 0.9


class DefaultsToRun(click.Group):
    """``python -m bench --quick`` is ``python -m bench run --quick``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args.insert(0, "run")
        return super().parse_args(ctx, args)


class Result(click.ParamType[Run]):
    """A file that ``python -m bench --json`` has written."""

    name = "FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Run:
        if isinstance(value, Run):
            return value
        try:
            return load(Path(str(value)))
        except (OSError, ValueError) as error:
            self.fail(str(error), param, ctx)


FILE = click.Path(dir_okay=False, path_type=Path)
markdown_option = click.option("--markdown", "markdown_file", type=FILE, help="The report as Markdown.")
html_option = click.option("--html", "html_file", type=FILE, help="The report as one HTML page.")


@click.group(cls=DefaultsToRun)
def main() -> None:
    """Measure fastws beside its rivals. Without a command: run the matrix."""


@main.command()
@click.option("--quick", is_flag=True, help="Ourselves and four rivals on five cells, < 4 minutes.")
@click.option("--goals", is_flag=True, help="Only what a goal needs, 1 s each: 9 rounds in about 40 minutes.")
@click.option(
    "--only", multiple=True, metavar="SERVERS/CELLS",
    help="Names or patterns with commas, either side may be empty: picows,ws/echo-*; again for more.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), help="Rounds; 9, or 3 with --quick.")
@click.option("--seconds", type=click.FloatRange(0.1), help="Of each measurement, instead of the cell's own.")
@click.option(
    "--extra", multiple=True, metavar="NAME=COMMAND", help="A server more, given PORT [CERTFILE KEYFILE]."
)
@click.option("--json", "json_file", type=FILE, help="Where the results go.")
@markdown_option
@html_option
@click.option("--require-idle", is_flag=True, help="Measure nothing on a machine that is not idle: exit 1.")
def run(
    quick: bool,
    goals: bool,
    only: tuple[str, ...],
    rounds: int | None,
    seconds: float | None,
    extra: tuple[str, ...],
    json_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    require_idle: bool,
) -> None:
    """Run the matrix. Results go to bench/results/ unless told otherwise."""
    if quick and goals:
        raise click.UsageError("--quick and --goals are two selections: choose")
    options = RunOptions(quick, goals, only, rounds, seconds, extra, json_file, require_idle)
    try:
        result, path = execute(options, click.echo)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if result is None:
        sys.exit(1)
    _write(markdown_file or path.with_suffix(".md"), markdown(result))
    _write(html_file or path.with_suffix(".html"), page(result))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    click.echo(f"wrote {path}")


@main.command()
@click.argument("before", type=Result())
@click.argument("after", type=Result())
@click.option("--check", is_flag=True, help="Exit 1 when fewer than 90 % of the ratios agree within 15 %.")
def compare(before: Run, after: Run, check: bool) -> None:
    """Print what changed between two runs."""
    click.echo(comparison_text(before, after), nl=False)
    if check and compare_runs(before, after).share_close < CLOSE_SHARE:
        sys.exit(1)


@main.command()
@click.argument("result", type=Result())
@click.option("--check", is_flag=True, help="Exit 1 when a promise is missed.")
def goals(result: Run, check: bool) -> None:
    """Print each goal with what the run measured."""
    verdicts = judge(result)
    rows = [(*goal_words(verdict.goal), *verdict_words(verdict)) for verdict in verdicts]
    click.echo(table(("cell", "what", "must", "aim", "measured", "verdict"), rows))
    if check and any(verdict.met is False for verdict in verdicts):
        sys.exit(1)


@main.command()
@click.argument("result", type=Result())
@markdown_option
@html_option
def report(result: Run, markdown_file: Path | None, html_file: Path | None) -> None:
    """Make the reports of a run again; without an option print the Markdown."""
    if html_file is not None:
        _write(html_file, page(result))
    if markdown_file is not None:
        _write(markdown_file, markdown(result))
    elif html_file is None:
        click.echo(markdown(result), nl=False)


@main.command()
@click.argument("result", type=Result())
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, help="The checkout to write to.")
def readme(result: Run, root: Path) -> None:
    """Put a run's numbers between README's markers, and its plot into docs/."""
    path = root / "README.md"
    try:
        text, plot = rewrite(path.read_text(), section(result)), readme_plot(result)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from None
    _write(path, text)
    _write(root / PLOT, plot)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--save", is_flag=True, help="Record the figures as the baseline instead of comparing.")
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
def micro(save: bool, pytest_options: tuple[str, ...]) -> None:
    """Run the micro-benchmarks beside their baseline; what follows goes to pytest."""
    sys.exit((save_baseline if save else compare_with_baseline)(pytest_options))


@main.command()
@click.option("--save", is_flag=True, help="Record the counts for this build of Python.")
def instructions(save: bool) -> None:
    """Count the instructions of the frame path and of whole paths with callgrind.

    Exit 1 where one is beyond 5 % of what is recorded, or costs too much beside another one.
    """
    # Only this command imports the library into the runner's own process.
    from bench.micro import instructions as counting

    try:
        if save:
            counting.record(click.echo)
        elif not counting.check(click.echo):
            sys.exit(1)
    except counting.NothingToCount as reason:
        raise click.ClickException(str(reason)) from None


@main.command()
def prepare() -> None:
    """Build and install what the rivals need and can be had by itself; say what is still missing."""
    try:
        prepare_node()
    except NotInstalled as reason:
        click.echo(f"ws: {reason}")
    show()


@main.command("list")
def show_all() -> None:
    """Print the cells, and the servers with their versions."""
    for cell in CELLS.values():
        click.echo(f"{cell.name:<20} {cell.title}")
    click.echo()
    show()


def show() -> None:
    """Print each server with its version, or why it is missing."""
    for server in catalogue().values():
        found = record(server)
        click.echo(f"{server.name:<20} {found.version or 'not installed: ' + str(found.missing)}")
