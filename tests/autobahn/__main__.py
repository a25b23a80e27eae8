"""``python -m tests.autobahn``: run the suite and say what it found."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.autobahn import results, suite
from tests.autobahn.environment import ROOT, Missing
from tests.autobahn.suite import Report, Run
from tests.live.servers import make_certificates


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 all acceptable, or the suite cannot run here; 1 otherwise."""
    options = _parser().parse_args(args)
    if options.write:
        results.rewrite(results.load(options.reports))
        return 0
    tested = results.commit()
    roles = [role for role in ("server", "client") if getattr(options, role)] or ["server", "client"]
    cases = suite.ALL if options.full else tuple(options.cases) or suite.FAST
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for role in roles:
            run = Run(role, options.engine, options.tls, cases)
            try:
                report = suite.run(run, certificates, options.reports)
            except Missing as missing:
                print(f"SKIPPED autobahn {run.name}: {missing}", flush=True)
                failed |= os.environ.get("TESTS_REQUIRE_AUTOBAHN") == "1"
                continue
            show(report)
            results.record(report, options.reports, tested)
            failed |= bool(report.failures())
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=main.__doc__)
    parser.add_argument("--server", action="store_true", help="only our server")
    parser.add_argument("--client", action="store_true", help="only our client")
    parser.add_argument("--tls", action="store_true", help="wss instead of ws")
    parser.add_argument("--engine", choices=["c", "wsproto"], default="c")
    parser.add_argument("--cases", nargs="+", default=(), metavar="CASE", help="such as 1.* or 9.3.1")
    parser.add_argument("--full", action="store_true", help="all 517 cases: some 10 minutes a run")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports" / "autobahn", metavar="DIR")
    parser.add_argument("--write", action="store_true", help="only rewrite docs/autobahn.md from the reports")
    return parser


def show(report: Report) -> None:
    print(report.summary(), flush=True)
    for verdict in ("NON-STRICT", "INFORMATIONAL"):
        print(f"  {verdict}: {' '.join(report.cases(verdict)) or 'none'}")
    for case, verdicts in report.failures().items():
        print(f"  FAILED {case}: {verdicts[0]}, close {verdicts[1]}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
