"""``fastws bench merge``: reports of several generators, from several processes or machines, as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastws.cli.bench import THRESHOLD, missing_module
from fastws.cli.errors import CannotStart
from fastws.cli.options import Command, option

if TYPE_CHECKING:
    from fastws.loadgen.thresholds import Threshold

__all__ = ["merge"]


@click.command(
    "merge",
    cls=Command,
    epilog="Exit codes: 0 merged, 1 clients failed or a threshold was missed, 2 wrong usage, 3 a file "
    "cannot be read.",
)
@click.argument("reports", nargs=-1, required=True, type=click.Path())
@option("--require", section="Results", type=THRESHOLD, multiple=True, metavar="p99=50ms",
        help="Exit with 1 where all together miss this threshold. Repeatable.")  # fmt: skip
@option("--json", "json_file", section="Results", metavar="FILE", type=click.Path(),
        help="Write the result as JSON; - is the standard output.")  # fmt: skip
def merge(reports: Sequence[str], require: Sequence[Threshold], json_file: str | None) -> int:
    """Add up REPORTS, which runs of `fastws bench --json` have written at the same time.

    Rates, messages and clients are sums; percentiles are of all latencies together.
    """
    import orjson

    try:
        from fastws.cli import measure
        from fastws.loadgen import report
        from fastws.loadgen.merging import ReportError, merge_reports
        from fastws.loadgen.thresholds import check
    except ImportError as error:
        raise CannotStart(missing_module(error)) from None
    measure.check_writable(json_file)
    try:
        result = merge_reports([(file, orjson.loads(Path(file).read_bytes())) for file in reports])
    except OSError as error:
        raise CannotStart(f"{error.filename}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"a report is no JSON: {error}") from None
    except ReportError as error:
        raise click.UsageError(str(error)) from None
    checks = check(require, result)
    report.print_result(result, measure.console(json_file), checks)
    measure.write(json_file, lambda: measure.dumps(measure.result_json(result, checks)))
    return measure.exit_code(result, checks)
