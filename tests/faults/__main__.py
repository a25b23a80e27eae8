"""``python -m tests.faults [ROW …]``: run the rows and write down what they measured."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults import rows
from tests.faults.harness import Missing, Record, Row, load_of_machine, result_of
from tests.faults.report import markdown, write_page

REPORTS = Path(__file__).parents[2] / "reports" / "faults"


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 every bound held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="such as F3 (default: all)")
    parser.add_argument("--full", action="store_true", help="as the row says: minutes, thousands of clients")
    parser.add_argument("--write", action="store_true", help="only write what ran to docs/faults.md")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR")
    options = parser.parse_args(args)
    unknown = set(options.rows) - set(rows.ALL)
    if unknown:
        parser.error(f"no such row: {' '.join(sorted(unknown))}; there are {' '.join(rows.ALL)}")
    chosen = [each for name, each in rows.ALL.items() if not options.rows or name in options.rows]
    if options.list:
        print("\n".join(f"{each.name:5} {each.title}" for each in chosen))
        return 0
    if options.write:
        for part, names in rows.PARTS.items():
            if kept := _kept(options.reports, names):
                write_page(part, markdown(kept))
        return 0
    options.reports.mkdir(parents=True, exist_ok=True)
    results = [_run(each, options.full, options.reports) for each in chosen]
    print("\n" + markdown(results))
    (options.reports / "faults.md").write_text(markdown(_kept(options.reports, rows.ALL)))
    return 0 if all(result["held"] for result in results) else 1


def _run(each: Row, full: bool, reports: Path) -> dict[str, Any]:
    print(f"{each.name} {each.title} ({load_of_machine()})", flush=True)
    record = Record(full)
    began, started, skipped = datetime.now(UTC), time.monotonic(), False
    try:
        each.run(record)
    except Missing as missing:
        print(f"  SKIPPED {each.name}: {missing}", flush=True)
        record.note(f"skipped: {missing}")
        skipped = os.environ.get("TESTS_REQUIRE_FAULTS") != "1"
    except Exception as error:  # one row that breaks must not hide the others
        traceback.print_exc()
        record.equal("the row runs to its end", f"{type(error).__name__}: {error}"[:300], "yes")
    result = result_of(each.name, each.title, record, began, started)
    result["held"] |= skipped and not record.checks
    (reports / f"{each.name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def _kept(reports: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The latest result of each of these rows, from this run or one before."""
    files = [reports / f"{name}.json" for name in names]
    return [json.loads(file.read_text()) for file in files if file.exists()]


if __name__ == "__main__":
    sys.exit(main())
